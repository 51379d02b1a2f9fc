"""The page that shows what a server can be asked: made of its OpenAPI document here, so that it loads nothing from anywhere."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = "body{font:16px/1.5 sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em}"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def page(document: dict[str, Any], name: str) -> str:
    """Return the page of an OpenAPI document as HTML; `name` is that of the model."""
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(name)}</title><style>{STYLE}</style>",
        f"<h1>{escape(name)}</h1><p>{escape(document['info']['description'])}</p>",
        "<p>The same for programs: <a href='/openapi.json'>openapi.json</a></p>",
    ]
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts += [f"<p>{escape(text)}</p>" for text in about.get("description", "").split("\n\n") if text]
            parts += ["<ul>", *map(_parameter, about.get("parameters", ())), "</ul>"]
            answers = about.get("responses", {})
            parts.append(
                "<p>Answers: "
                + ", ".join(f"{status} {escape(one['description'])}" for status, one in answers.items())
                + "</p>"
            )
    return "\n".join([*parts, "</html>"])


def _parameter(about: dict[str, Any]) -> str:
    return f"<li><code>{escape(about['name'])}</code> {escape(about.get('description', ''))}</li>"
