"""What scikit-learn asks of an estimator, so that ours work in its pipelines and searches; it is imported only when it asks."""

from __future__ import annotations

import inspect
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self

from winnow.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from sklearn.utils import Tags


def check_whole(**numbers: tuple[Any, int]) -> None:
    """Raise `OptionError` for the first option, name=(value, least), that is no whole number or is below the least."""
    for name, (value, least) in numbers.items():
        if not isinstance(value, Integral) or value < least:
            raise OptionError(f"{name} is {value!r}; it must be a whole number, {least} or more.")


def within(value: Any, least: float, below: float) -> bool:
    """Return whether a value is a number, at least the one and below the other."""
    return isinstance(value, Real) and least <= float(value) < below


class Estimator:
    """An object whose options are the arguments of its `__init__`, each kept unchanged as the attribute of that name.

    Source of the protocol: scikit-learn, Developing scikit-learn estimators.
    """

    KIND = ""
    """"classifier" or "outlier_detector"."""

    def __repr__(self) -> str:
        """Return how it is made: the options that are not the usual ones."""
        usual = {name: each.default for name, each in inspect.signature(type(self).__init__).parameters.items()}
        given = (f"{name}={value!r}" for name, value in self.get_params().items() if value != usual[name])
        return f"{type(self).__name__}({', '.join(given)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options by name, as they were given; none has options of its own, so that `deep` changes nothing."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def set_params(self, **options: Any) -> Self:
        """Change options and forget what was fitted; `OptionError` for an unknown one or a value that does not fit."""
        known = self.get_params()
        for name in options:
            if name not in known:
                raise OptionError(f"{type(self).__name__} has no option '{name}'.", did_you_mean(name, list(known)))
        if options:
            fresh = type(self)(**{**known, **options})
            self.__dict__.clear()
            self.__dict__.update(fresh.__dict__)
        return self

    def __sklearn_tags__(self) -> Tags:
        """Return what scikit-learn is to know: the kind, and that numbers that are not finite are refused."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        classifier = self.KIND == "classifier"
        return Tags(
            estimator_type=self.KIND,
            target_tags=TargetTags(required=classifier),
            classifier_tags=ClassifierTags() if classifier else None,
            input_tags=InputTags(),
        )
