"""Makes the pictures beside it: python3 make.py (needs pillow, pillow-heif and piexif from PyPI)."""

import subprocess

import piexif
import pillow_heif
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

pillow_heif.register_heif_opener()


def quarters(width, height, mode="RGB"):
    """Red, green, blue and white quarters: where each is shows how the picture was turned."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, width // 2 - 1, height // 2 - 1], fill=(220, 20, 20))
    draw.rectangle([width // 2, 0, width, height // 2 - 1], fill=(20, 180, 20))
    draw.rectangle([0, height // 2, width // 2 - 1, height], fill=(20, 20, 220))
    return image.convert(mode)


def exif(orientation):
    return piexif.dump({
        "0th": {
            piexif.ImageIFD.Make: b"SecretCamera",
            piexif.ImageIFD.Orientation: orientation,
            piexif.ImageIFD.Artist: b"SecretArtist",
        },
        "GPS": {
            piexif.GPSIFD.GPSLatitudeRef: b"N",
            piexif.GPSIFD.GPSLatitude: ((52, 1), (31, 1), (12, 1)),
            piexif.GPSIFD.GPSLongitudeRef: b"E",
            piexif.GPSIFD.GPSLongitude: ((13, 1), (24, 1), (36, 1)),
        },
        "1st": {}, "thumbnail": None,
    })


profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">SecretXMP</x:xmpmeta>'

turned = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
          4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
          7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}
for orientation, method in turned.items():
    # Stored so that a reader which applies the orientation sees the quarters as they are above.
    image = quarters(64, 32)
    stored = image.transpose(method) if method is not None else image
    stored.save(f"orientation-{orientation}.jpg", quality=95, exif=exif(orientation))

quarters(900, 600).save("gps.jpg", quality=60, exif=exif(1), icc_profile=profile, xmp=xmp, comment=b"SecretComment")
with open("gps.jpg", "ab") as file:
    file.write(b"SecretTrailer")

text = PngInfo()
text.add_text("Location", "SecretPlace")
text.add_itxt("XML:com.adobe.xmp", "SecretXMP")
quarters(120, 80).save("location.png", pnginfo=text, exif=exif(1), icc_profile=profile)
quarters(120, 80).save("location.webp", exif=exif(1), xmp=xmp, icc_profile=profile)
quarters(120, 80).save("location.heic", exif=exif(1), quality=60)
quarters(120, 80).save("photo.avif", quality=60)

quarters(120, 80, "CMYK").save("cmyk.jpg", quality=80)
quarters(120, 80, "L").save("grey.jpg", quality=80)
quarters(120, 80).save("progressive.jpg", quality=80, progressive=True)
palette = quarters(120, 80).quantize(8)
palette.save("palette.png", transparency=0)
clear = quarters(120, 80, "RGBA")
clear.putalpha(Image.linear_gradient("L").resize((120, 80)))
clear.save("clear.png")
grey = quarters(120, 80, "L")
wide = Image.frombytes("I;16", grey.size, bytes(v for p in grey.tobytes() for v in (p, p)))
wide.save("grey16.png")

frames = []
for step in range(5):
    frame = quarters(60, 40)
    ImageDraw.Draw(frame).rectangle([step * 10, 0, step * 10 + 9, 39], fill="black")
    frames.append(frame)
frames[0].save("moving.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
frames[0].save("moving.webp", save_all=True, append_images=frames[1:], duration=80, loop=0)
quarters(120, 80).save("still.gif")
quarters(120, 80).save("refused.tiff")
quarters(120, 80).save("refused.pdf")
quarters(120, 80).save("refused.jp2")
quarters(8, 8).save("refused.ppm")

# Colours of a wide gamut: the same quarters, described by a profile which is not sRGB (vips is libvips-tools').
quarters(120, 80).save("/tmp/quarters.png")
subprocess.run(["vips", "icc_transform", "/tmp/quarters.png", "wide.jpg[Q=95]", "p3",
                "--input-profile=srgb", "--intent=relative"], check=True)
