"""Writes crates/resnet-core/tests/fixtures/tensor_board.tfevents: records by TensorBoard's own writer and messages.

    python3 tools/tensor_board_fixture.py

Python 3.11, tensorboard 2.20.0. The test `crates/resnet-core/tests/tensor_board.rs` writes the same events and compares the bytes.
"""

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.record_writer import RecordWriter

PNG = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/pictures/grey.png"


def events():
    yield Event(wall_time=1700000000.25, file_version="brain.Event:2")
    scalars = [Summary.Value(tag="step/loss", simple_value=2.31), Summary.Value(tag="step/lr", simple_value=0.1)]
    yield Event(wall_time=1700000001.5, step=469, summary=Summary(value=scalars))
    yield Event(wall_time=1700000002, step=300, session_log=SessionLog(status=SessionLog.START))
    png = PNG.read_bytes()
    size = {"height": int.from_bytes(png[20:24], "big"), "width": int.from_bytes(png[16:20], "big")}
    picture = Summary.Value(tag="first batch", image=Summary.Image(**size, colorspace=3, encoded_image_string=png))
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype="DT_STRING", tensor_shape=shape, string_val=["**ResNet-18** at 96×96".encode()])
    text = Summary.Value(tag="notes", metadata=metadata, tensor=tensor)
    yield Event(wall_time=1700000003, step=3000000000, summary=Summary(value=[picture, text]))


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "crates/resnet-core/tests/fixtures/tensor_board.tfevents"
    with target.open("wb") as file:
        writer = RecordWriter(file)
        for event in events():
            writer.write(event.SerializeToString(deterministic=True))
    print(f"{target}: {target.stat().st_size} bytes")
