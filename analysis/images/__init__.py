"""Image files in; labelled arrays with their calibration out."""

from analysis.images.reading import image_paths, is_image, labelled_image, read_image

__all__ = [
    "image_paths",
    "is_image",
    "labelled_image",
    "read_image",
]
