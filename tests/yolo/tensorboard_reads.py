"""What tests/yolo/tensorboard.cpp wrote, read by the package tensorboard.

usage: tensorboard_reads.py FOLDER        (exits with 1 and a message where something else is read)
"""
import io
import sys

import PIL.Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1])
events.Reload()
tags = events.Tags()
assert sorted(tags["scalars"]) == ["metrics/mAP_0.5", "train/box_loss"], tags
losses = events.Scalars("train/box_loss")
assert [event.step for event in losses] == list(range(6)), losses
assert all(abs(event.value * (event.step + 1) - 1) < 1e-6 for event in losses), losses
assert losses[0].wall_time > 1.7e9, losses
assert all(abs(event.value - event.step / 10) < 1e-6 for event in events.Scalars("metrics/mAP_0.5"))

assert tags["images"] == ["results"], tags
(image,) = events.Images("results")
assert (image.step, image.width, image.height) == (5, 3, 2), image
picture = PIL.Image.open(io.BytesIO(image.encoded_image_string))
assert list(picture.tobytes()) == [0, 40, 80, 120, 160, 200], list(picture.tobytes())
