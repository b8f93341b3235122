"""Keras on TensorFlow as a side of `npm run bench`: d2l.ai's ResNet-18 of its TensorFlow edition.

Its padding is "same": where a stride is 2, the odd row and column lie right and below instead of left and above, which costs
nothing and changes nothing in the sizes. side.py tells options, requests and answers. Written for Python 3.11 with
TensorFlow 2.21 and Keras 3.15.
"""

import os
import platform

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import side


def norm():
    """Batch norm with PyTorch's constants."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)


def residual(x, channels, stride, projects):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""
    y = layers.ReLU()(norm()(layers.Conv2D(channels, 3, stride, "same")(x)))
    y = norm()(layers.Conv2D(channels, 3, 1, "same")(y))
    shortcut = layers.Conv2D(channels, 1, stride)(x) if projects else x
    return layers.ReLU()(layers.Add()([y, shortcut]))


def resnet18(size):
    """One input channel, ten classes; weights are Xavier uniform by default."""
    x = images = keras.Input((size, size, 1))
    x = layers.ReLU()(norm()(layers.Conv2D(64, 7, 2, "same")(x)))
    x = layers.MaxPooling2D(3, 2, "same")(x)
    for stage, width in enumerate((64, 128, 256, 512)):
        x = residual(x, width, 2 if stage > 0 else 1, stage > 0)
        x = residual(x, width, 1, False)
    return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def main():
    options = side.parser("Keras as a side of `npm run bench`").parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    keras.utils.set_random_seed(42)
    network = resnet18(options.size)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
    batches = side.Batches(options)

    def batch():
        images, labels = batches.next()
        images = tf.cast(images.reshape(-1, 28, 28, 1), tf.float32) / 255
        return tf.image.resize(images, (options.size, options.size)), labels.astype(np.int32)

    def train():
        # Without it the loss would be the mean since the start.
        network.reset_metrics()
        return float(network.train_on_batch(*batch()))

    def predict():
        return network.predict_on_batch(batch()[0])

    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "python": platform.python_version()}
    parameters = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    side.serve({**versions, "threads": options.threads, "parameters": parameters}, {"train": train, "predict": predict})


if __name__ == "__main__":
    main()
