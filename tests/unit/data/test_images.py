import contextlib
import io
import resource
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from galmorph.data.images import FORMATS, decode_image, is_blank, max_bytes
from galmorph.errors import ImageError

CAP = 1_000_000
rng = np.random.default_rng(4)


def galaxy(height=60, width=80):
    """A smooth galaxy on a noisy sky, its colours all different, its sides too."""
    y, x = np.mgrid[:height, :width]
    light = 180 * np.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / 200)
    noise = np.random.default_rng(1).normal(20, 5, (height, width, 3))
    return np.clip(light[..., None] * [1, 0.8, 0.6] + noise, 0, 255).astype(np.uint8)


def encoded(image, form, **options):
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour_type, rows=b"", further=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + further + pixels + chunk(b"IEND", b"")


RGB = galaxy()
PICTURE = Image.fromarray(RGB)
LOSSLESS = {
    "PNG": encoded(PICTURE, "PNG"),
    "TIFF": encoded(PICTURE, "TIFF"),
    "BMP": encoded(PICTURE, "BMP"),
    "WEBP": encoded(PICTURE, "WEBP", lossless=True),
}
#: Every kind that is read, to be cut and damaged.
FILES = LOSSLESS | {
    "JPEG": encoded(PICTURE, "JPEG", quality=92),
    "progressive JPEG": encoded(PICTURE, "JPEG", progressive=True),
    "CMYK JPEG": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "GIF": encoded(PICTURE, "GIF"),
    "WEBP with loss": encoded(PICTURE, "WEBP"),
    "LZW TIFF": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "16-bit PNG": cv2.imencode(".png", RGB.astype(np.uint16) * 257)[1].tobytes(),
    "16-bit TIFF": cv2.imencode(".tiff", RGB.astype(np.uint16) * 257)[1].tobytes(),
}


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_keep_every_pixel(form):
    decoded = decode_image(LOSSLESS[form], "1.xyz", CAP)
    assert (decoded.format, decoded.mode, decoded.conversion) == (form, "RGB", "none")
    np.testing.assert_array_equal(decoded.pixels, RGB)


def test_jpeg_is_read_as_pillow_reads_it():
    decoded = decode_image(FILES["JPEG"], "1.png", CAP)
    assert (decoded.format, decoded.mode, decoded.conversion) == ("JPEG", "RGB", "none")
    np.testing.assert_array_equal(decoded.pixels, np.asarray(Image.open(io.BytesIO(FILES["JPEG"]))))


@pytest.mark.parametrize("kind", FILES)
def test_result_is_contiguous_uint8_rgb(kind):
    pixels = decode_image(FILES[kind], "1", CAP).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == RGB.shape
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - RGB).mean() < 12


def test_grey_becomes_three_equal_channels():
    grey = RGB[..., 0]
    decoded = decode_image(encoded(Image.fromarray(grey), "PNG"), "1", CAP)
    assert (decoded.mode, decoded.conversion) == ("L", "grey to RGB")
    np.testing.assert_array_equal(decoded.pixels, np.stack([grey] * 3, axis=-1))


def test_one_bit_becomes_black_and_white():
    bits = RGB[..., 0] > 100
    decoded = decode_image(encoded(Image.fromarray(bits), "PNG"), "1", CAP)
    assert decoded.conversion == "grey to RGB"
    np.testing.assert_array_equal(decoded.pixels[..., 1], np.where(bits, 255, 0))


def test_opaque_alpha_is_dropped():
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    decoded = decode_image(encoded(Image.fromarray(rgba), "PNG"), "1", CAP)
    assert (decoded.mode, decoded.conversion) == ("RGBA", "opaque alpha dropped")
    np.testing.assert_array_equal(decoded.pixels, RGB)


def test_alpha_is_laid_over_black():
    alpha = rng.integers(0, 256, RGB.shape[:2]).astype(np.uint8)
    decoded = decode_image(encoded(Image.fromarray(np.dstack([RGB, alpha])), "PNG"), "1", CAP)
    assert decoded.conversion == "alpha over black"
    np.testing.assert_array_equal(decoded.pixels, np.round(RGB * (alpha[..., None] / 255)))


def test_grey_with_alpha():
    grey, alpha = RGB[..., 0], RGB[..., 1]
    decoded = decode_image(encoded(Image.fromarray(np.dstack([grey, alpha]), "LA"), "PNG"), "1", CAP)
    assert decoded.conversion == "grey to RGB, alpha over black"
    np.testing.assert_allclose(decoded.pixels[..., 2], grey * (alpha / 255), atol=0.51)


def test_a_colour_key_is_transparency():
    raw = encoded(Image.fromarray(np.full((3, 4, 3), 200, np.uint8)), "PNG", transparency=(200, 200, 200))
    decoded = decode_image(raw, "1", CAP)
    assert decoded.conversion == "alpha over black"
    assert not decoded.pixels.any()


def test_palette_with_and_without_transparency():
    palette = PICTURE.quantize(64)
    decoded = decode_image(encoded(palette, "PNG"), "1", CAP)
    assert (decoded.mode, decoded.conversion) == ("P", "palette to RGB")
    np.testing.assert_array_equal(decoded.pixels, np.asarray(palette.convert("RGB")))
    keyed = decode_image(encoded(palette, "PNG", transparency=bytes([0] * 64)), "1", CAP)
    assert keyed.conversion == "palette to RGB, alpha over black"
    assert not keyed.pixels.any()


def test_cmyk_is_converted():
    decoded = decode_image(encoded(PICTURE.convert("CMYK"), "TIFF"), "1", CAP)
    assert (decoded.mode, decoded.conversion) == ("CMYK", "CMYK to RGB")
    assert np.abs(decoded.pixels.astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_is_scaled_neither_clipped_nor_cut(suffix, channels):
    deep = rng.integers(0, 65536, (50, 70, channels)).astype(np.uint16)
    deep[0, 0], deep[0, 1], deep[0, 2] = 65535, 0, 255  # 255 of 65535 is 1 of 255; cutting the low byte makes it 0
    decoded = decode_image(cv2.imencode(suffix, deep)[1].tobytes(), "1", CAP)
    expected = np.round(np.broadcast_to(deep[..., ::-1], (50, 70, 3)) / 257).astype(np.uint8)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.mode == ("RGB;16" if channels == 3 else "I;16")
    assert decoded.conversion == ("16-bit to 8-bit" if channels == 3 else "16-bit to 8-bit, grey to RGB")
    assert decoded.pixels[0, 2, 0] == 1


def test_pillow_alone_would_spoil_16_bit():
    """Why OpenCV reads them: should this fail, one decoder will do."""
    deep = rng.integers(0, 65536, (50, 70)).astype(np.uint16)
    clipped = np.asarray(Image.open(io.BytesIO(cv2.imencode(".png", deep)[1])).convert("RGB"))
    assert (clipped == 255).mean() > 0.9


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_alpha_is_laid_over_black_before_scaling(suffix):
    deep = rng.integers(0, 65536, (40, 30, 4)).astype(np.uint16)
    decoded = decode_image(cv2.imencode(suffix, deep)[1].tobytes(), "1", CAP)
    expected = deep[..., 2::-1] * (deep[..., 3:] / 65535) / 257
    np.testing.assert_allclose(decoded.pixels, expected, atol=0.51)
    assert decoded.conversion == "16-bit to 8-bit, alpha over black"


def test_16_bit_grey_with_alpha():
    deep = rng.integers(0, 65536, (4, 5, 2)).astype(">u2")
    decoded = decode_image(png(5, 4, 16, 4, b"".join(b"\0" + row.tobytes() for row in deep)), "1", CAP)
    np.testing.assert_allclose(decoded.pixels[..., 0], deep[..., 0] * (deep[..., 1] / 65535) / 257, atol=0.51)


def test_16_bit_colour_key():
    rows = (b"\0" + struct.pack(">HHH", 1000, 2000, 3000) * 5) * 4
    decoded = decode_image(png(5, 4, 16, 2, rows, chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000))), "1", CAP)
    assert not decoded.pixels.any()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_planes_stored_apart_are_refused_rather_than_misread(compression):
    tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")
    content = io.BytesIO()
    planes = rng.integers(0, 65536, (3, 20, 30)).astype(np.uint16)
    tifffile.imwrite(content, planes, photometric="rgb", planarconfig="separate", compression=compression)
    with pytest.raises(ImageError, match="Save it as PNG"):
        decode_image(content.getvalue(), "1.tif", CAP)


@pytest.mark.parametrize("kind", ["int16", "uint32", "float32", "int8"])
def test_pixels_without_a_defined_white_are_refused(kind):
    tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")
    content = io.BytesIO()
    tifffile.imwrite(content, rng.integers(0, 100, (20, 30)).astype(kind))
    with pytest.raises(ImageError, match=r"1\.tif: only unsigned channels of 8 or 16 bits"):
        decode_image(content.getvalue(), "1.tif", CAP)


def test_exif_orientation_is_left_alone():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to display
    decoded = decode_image(encoded(PICTURE, "PNG", exif=exif), "1", CAP)
    np.testing.assert_array_equal(decoded.pixels, RGB)
    deep = encoded(Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), "PNG", exif=exif)
    assert decode_image(deep, "1", CAP).pixels.shape == RGB.shape


def test_one_pixel_is_an_image():
    decoded = decode_image(png(1, 1, 8, 2, b"\0\1\2\3"), "1", 1)
    assert decoded.pixels.tolist() == [[[1, 2, 3]]]


def test_empty_file():
    with pytest.raises(ImageError, match=r"^images/5\.png: the file is empty \(0 bytes\)"):
        decode_image(b"", "images/5.png", CAP)


@pytest.mark.parametrize(
    "content", [b"\0", b"<html>404 Not Found</html>", b"%PDF-1.7 ", b"SIMPLE  =  T", rng.bytes(999)]
)
def test_not_an_image(content):
    with pytest.raises(ImageError, match=r"^5\.png: not an image.*Received: [\d,]+ bytes that begin with"):
        decode_image(content, "5.png", CAP)


def test_formats_that_run_other_programs_are_not_read():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ImageError, match="not an image"):
        decode_image(postscript, "1.eps", CAP)
    assert "EPS" not in FORMATS


@pytest.mark.parametrize("kind", FILES)
def test_a_truncated_file_is_refused_or_whole(kind):
    """At whatever byte it is cut: never pixels that were made up."""
    content = FILES[kind]
    whole = decode_image(content, "1", CAP).pixels
    cuts = {*range(1, 40), *np.linspace(40, len(content) - 30, 40).astype(int), *range(len(content) - 30, len(content))}
    refused = 0
    for cut in sorted(cuts):
        try:
            pixels = decode_image(content[:cut], "1", CAP).pixels
        except ImageError:
            refused += 1
        else:
            np.testing.assert_array_equal(pixels, whole, err_msg=f"cut at {cut} of {len(content)}")
    assert refused > 0.75 * len(cuts)


@pytest.mark.parametrize("kind", FILES)
def test_damage_raises_nothing_but_image_errors(kind):
    chance = np.random.default_rng(8)
    for _ in range(60):
        content = bytearray(FILES[kind])
        for place in chance.integers(0, len(content), 4):
            content[place] = chance.integers(256)
        with contextlib.suppress(ImageError):
            assert decode_image(bytes(content), "1", CAP).pixels.dtype == np.uint8


def test_larger_than_the_cap_is_refused():
    assert decode_image(LOSSLESS["PNG"], "1", 60 * 80).pixels.shape == (60, 80, 3)
    with pytest.raises(ImageError, match=r"larger than the 4,799 pixels of max_pixels.*Received: 80 x 60"):
        decode_image(LOSSLESS["PNG"], "1", 60 * 80 - 1)


@pytest.mark.parametrize("side", [7000, 10_000, 20_000])
def test_bombs_are_refused_whatever_pillow_thinks_of_their_size(side):
    """Pillow lets the first pass, warns of the second, and raises at the third."""
    with pytest.raises(ImageError, match=r"larger than the 40,000,000 pixels.*not decoded"):
        decode_image(png(side, side, 8, 2, bytes(100)), "1", 40_000_000)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """A real one, 1.2 GB of pixels in little more than a megabyte: memory must not grow by more than a few MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = 20 * (1 + 3 * 20_000)
    block = packer.compress(bytes(rows)) + packer.flush(zlib.Z_FULL_FLUSH)  # twenty rows; a thousand times the same
    checksum = (1000 * rows % 65521) << 16 | 1  # Adler-32 of zeros
    pixels = b"\x78\x9c" + 1000 * block + b"\x03\x00" + struct.pack(">I", checksum)
    bomb = tmp_path / "bomb.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    script = f"""
import resource, sys
from galmorph.data.images import decode_image
from galmorph.errors import ImageError
content = open({str(bomb)!r}, "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_image(content, "bomb.png", 40_000_000)
except ImageError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    assert zlib.decompressobj().decompress(pixels, 3 * rows) == bytes(3 * rows)
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    kilobytes = int(grown) / (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 20_000


def test_a_webp_bomb_takes_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + struct.pack("<I", 16382 | (16382 << 14)) + bytes(5)
    with pytest.raises(ImageError):
        decode_image(b"RIFF" + struct.pack("<I", len(header) + 4) + b"WEBP" + header, "1", 40_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(form):
    frames = [Image.fromarray(np.roll(RGB, shift, 0)) for shift in range(3)]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="an animation, or several pages"):
        decode_image(content, "1", CAP)


def test_the_first_picture_of_an_mpo_is_taken():
    content = encoded(PICTURE, "MPO", save_all=True, append_images=[Image.fromarray(255 - RGB)], quality=95)
    decoded = decode_image(content, "1.jpg", CAP)
    assert (decoded.format, decoded.conversion) == ("JPEG", "none")
    assert np.abs(decoded.pixels.astype(int) - RGB).mean() < 8


def test_pillow_is_left_as_it_was():
    limit, formats = Image.MAX_IMAGE_PIXELS, dict(Image.OPEN)
    decode_image(LOSSLESS["PNG"], "1", CAP)
    with pytest.raises(ImageError):
        decode_image(png(20_000, 20_000, 8, 2), "1", CAP)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert formats.items() <= Image.OPEN.items()


def test_blank():
    assert is_blank(np.full((5, 6, 3), 17, np.uint8))
    assert is_blank(np.broadcast_to(np.uint8([1, 2, 3]), (5, 6, 3)))
    assert is_blank(np.zeros((1, 1, 3), np.uint8))
    assert not is_blank(RGB)
    speck = np.zeros((5, 6, 3), np.uint8)
    speck[4, 5, 2] = 1
    assert not is_blank(speck)


def test_no_image_is_longer_than_max_bytes():
    deep = rng.integers(0, 65536, (500, 200, 4)).astype(np.uint16)
    content = cv2.imencode(".tiff", deep, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1]
    assert deep.nbytes < len(content) <= max_bytes(500 * 200)
