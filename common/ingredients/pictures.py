"""Pictures of one's own, from PNG and JPEG files."""

import importlib.resources

import numpy as np
from PIL import Image, ImageOps


def read_picture(file):
    """The picture in a PNG or JPEG, in RGB and upright; what is transparent is white.

    Of an animated PNG it is the one that stands for the whole, of 16 bits the upper eight. Raises
    ValueError for another kind of file, a damaged one, and more pixels than Pillow's limit.
    """
    try:
        picture = ImageOps.exif_transpose(Image.open(file, formats=("JPEG", "PNG")))
        if picture.mode.startswith("I"):  # 16 bits, which Pillow's `convert` would cut at 255
            picture = Image.fromarray((np.asarray(picture) >> 8).astype("uint8"))
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        received = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ValueError(f"--image {file}: expected a PNG or JPEG, received: {received}") from None
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def photographs(folder):
    """The PNG and JPEG files of a folder, by name; scikit-learn's two pictures if it has none."""
    bundled = importlib.resources.files("sklearn") / "datasets/images"
    found = [one for one in folder.glob("*") if one.suffix.lower() in (".png", ".jpg", ".jpeg")]
    files = sorted(found) or sorted(bundled.glob("*.jpg"))
    return [read_picture(file) for file in files]


def squares(pictures, side):
    """Pillow's pictures, each cut to its central square and scaled: (n, side, side, 3) float32."""
    how = (side, side), Image.Resampling.BICUBIC
    return np.stack([np.asarray(ImageOps.fit(one, *how), "float32") for one in pictures])
