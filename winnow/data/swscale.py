"""Turn a decoded video frame into pixels: scaled inside swscale, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.errors import Unreadable

if TYPE_CHECKING:
    from av import VideoFrame


class Painter:
    """Converts frames to uint8 (h, w, 3) or, when `grey`, (h, w, 1); `size` is (height, width) upright, None the frame's own.

    Frames are scaled by area averages, turned as recorded, with transparency laid on white. `Unreadable` for a frame of more
    than a quarter of `pixel_limit` million pixels.
    """

    def __init__(self, size: tuple[int, int] | None, grey: bool, pixel_limit: float) -> None:
        from av.video.reformatter import VideoReformatter

        self.size, self.grey, self.most = size, grey, most_pixels(pixel_limit)
        self.reformatter = VideoReformatter()
        self.turn: np.ndarray | None = None

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        check_pixels(frame.width, frame.height, self.most)
        if self.turn is None:
            # Asked of one frame only: PyAV's side data and its frame hold each other, and the pixels with them.
            self.turn = _display_matrix(frame)
        turn = self.turn
        height, width = self.size or (frame.height, frame.width)
        if self.size and turn[0, 0] == 0:
            height, width = width, height
        alpha = any(component.is_alpha for component in frame.format.components)
        form = "rgba" if alpha else "gray" if self.grey else "rgb24"
        image = self._scaled(frame, height, width, form)
        if alpha:
            image = _on_white(image)
            image = _luma(image) if self.grey else image
        if self.grey and image.ndim == 2:
            image = image[..., None]
        return np.ascontiguousarray(_turned(image, turn))

    def _scaled(self, frame: VideoFrame, height: int, width: int, form: str) -> np.ndarray:
        from av.video.reformatter import Interpolation

        flags = Interpolation.AREA | Interpolation.ACCURATE_RND
        scaled = self.reformatter.reformat(frame, width, height, form, interpolation=flags, threads=1)
        return scaled.to_ndarray()


def _display_matrix(frame: VideoFrame) -> np.ndarray:
    """Return how to turn the picture, as the nearest signed permutation (2, 2); phones record it with the pixels."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2)
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].astype(float)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return np.array([[np.sign(a) or 1, 0], [0, np.sign(d) or 1]])
    return np.array([[0, np.sign(b) or 1], [np.sign(c) or 1, 0]])


def _turned(image: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Move the pixel at (x, y) to (a x + c y, b x + d y), the display matrix being ((a, b), (c, d))."""
    (a, b), (c, d) = turn
    if a == 0:
        image = image.swapaxes(0, 1)
        a, d = c, b
    return image[:: int(d), :: int(a)]


def _on_white(image: np.ndarray) -> np.ndarray:
    alpha = image[..., 3:].astype(np.uint32)
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _luma(image: np.ndarray) -> np.ndarray:
    return ((image.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32) + 32768) >> 16).astype(np.uint8)


def most_pixels(pixel_limit: float) -> int:
    """Return how many pixels a frame may have: a quarter, for a decoder holds up to sixteen frames that others refer to."""
    return int(pixel_limit * 1e6 / 4)


def check_pixels(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise Unreadable(
            f"its pictures of {width} x {height} pixels are above the limit of {most / 1e6:g} million, a quarter of --pixel-limit"
        )
