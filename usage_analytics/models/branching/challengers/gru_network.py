"""The recurrent network as TensorFlow trains it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from usage_analytics.errors import UserError
from usage_analytics.models.branching.arrays import Floats
from usage_analytics.models.branching.challengers.gru import GruWeights
from usage_analytics.models.branching.challengers.training_batches import TrainingBatch

_WIDEST_EMBEDDING = 32


@dataclass(frozen=True)
class Step:
    """What one batch came to, before the weights were changed by it."""

    loss: float  # nats per prediction
    predictions: float


class GruNetwork:
    """Embedding, GRU and output in Keras, and Adam (Kingma & Ba, 2015); all of it can be taken out and put back.

    Makes TensorFlow deterministic for the whole process: the same batches then give the same weights.
    """

    def __init__(self, frequencies: Floats, units: int, seed: int) -> None:
        """Start untrained: it predicts the frequencies (mini_apps,), which sum to one, whatever came before.

        `UserError` where TensorFlow is not installed.
        """
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else its own news go to the terminal
        try:
            import keras
            import tensorflow as tf
        except ImportError as error:
            raise UserError(
                f"The recurrent network needs the ai extra (pip install 'usage_analytics[ai]'): {error}"
            ) from None

        tf.config.experimental.enable_op_determinism()
        self._model = _build(keras, frequencies, units, seed)
        self._optimizer = keras.optimizers.Adam()
        self._optimizer.build(self._model.trainable_variables)
        self._step = _compile_step(tf, self._model, self._optimizer)

    def learn(self, batches: Callable[[], Iterator[TrainingBatch]], skipped: int, rate: float) -> Iterator[Step]:
        """Take a step for each batch but those skipped. An error while batches are read comes out as it is."""
        import tensorflow as tf

        self._optimizer.learning_rate.assign(rate)
        kinds = (tf.int32, tf.int32, tf.float32)
        signature = tuple(tf.TensorSpec((None, None), kind) for kind in kinds)
        raised: list[Exception] = []
        source = tf.data.Dataset.from_generator(lambda: _arrays(batches(), raised), output_signature=signature)
        try:
            for codes, actions, weights in source.skip(skipped).prefetch(2):
                yield Step(float(self._step(codes, actions, weights)), float(tf.reduce_sum(weights)))
        except tf.errors.OpError:
            if not raised:
                raise
        if raised:  # TensorFlow told it as a text; out here nothing of its is kept alive by the error
            raise raised[0]

    def variables(self) -> list[npt.NDArray[Any]]:
        """All that training changes: weights, moments, steps."""
        return [np.asarray(variable) for variable in self._variables()]

    def restore(self, values: Sequence[npt.NDArray[Any]]) -> None:
        """Go on from what `variables` gave."""
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)

    def weights(self) -> GruWeights:
        """What predicts, as plain arrays."""
        embedding, kernel, recurrent, biases, output, output_bias = (
            np.asarray(variable, np.float32) for variable in self._model.trainable_variables
        )
        return GruWeights(embedding @ kernel + biases[0], recurrent, biases[1], output, output_bias)

    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._optimizer.variables]


def _build(keras: Any, frequencies: Floats, units: int, seed: int) -> Any:
    apps, width = len(frequencies), min(units, _WIDEST_EMBEDDING)
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(apps + 1, width, keras.initializers.RandomUniform(seed=seed)),
            keras.layers.GRU(
                units,
                return_sequences=True,
                kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 1),
                recurrent_initializer=keras.initializers.Orthogonal(seed=seed + 2),
            ),
            keras.layers.Dense(
                apps,
                kernel_initializer="zeros",
                bias_initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(np.log(frequencies), dtype),
            ),
        ]
    )


def _compile_step(tf: Any, model: Any, optimizer: Any) -> Callable[[Any, Any, Any], Any]:
    places = (None, None)
    signature = [tf.TensorSpec(places, tf.int32), tf.TensorSpec(places, tf.int32), tf.TensorSpec(places, tf.float32)]

    @tf.function(input_signature=signature, autograph=False)
    def step(codes: Any, actions: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(actions, model(codes))
            loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


def _arrays(batches: Iterator[TrainingBatch], raised: list[Exception]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    try:
        for batch in batches:
            yield batch.codes.astype(np.int32), batch.actions.astype(np.int32), batch.weights.astype(np.float32)
    except Exception as error:
        raised.append(error)
        raise
