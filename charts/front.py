"""The Pareto front, drawn: numbers first (`front_info`), then a figure, a picture or a page of them."""

from charts.info import FrontInfo, FrontPoint, PublishedPoint, front_info
from charts.plot import front_figure, published_figure, write_html
from charts.png import front_png

__all__ = [
    "FrontInfo",
    "FrontPoint",
    "PublishedPoint",
    "front_figure",
    "front_info",
    "front_png",
    "published_figure",
    "write_html",
]
