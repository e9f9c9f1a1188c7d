"""The network behind layer features: an SSL encoder or LFCCs, as the settings say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from sourcetracing.detection.features.layer_store import layers_of
from sourcetracing.errors import UserError
from sourcetracing.features.front_end import convert_once
from sourcetracing.features.ssl_front_end import load_ssl
from sourcetracing.runtime.compute import autocast
from sourcetracing.settings.frontends import FRONTENDS
from sourcetracing.settings.schema import Settings

if TYPE_CHECKING:
    from sourcetracing.models.frontends.layer_means import LayerMeans
    from sourcetracing.models.frontends.lfcc_means import LfccMeans


def build_layer_means(settings: Settings, copy: str) -> LayerMeans | LfccMeans:
    """The network, on the device of the settings. Raises `UserError`: no such model, wrong weights, a layer that does not exist."""
    return _lfcc_means(settings) if settings.layer_features.kind == "lfcc" else _encoder_means(settings, copy)


def _lfcc_means(settings: Settings) -> LfccMeans:
    from sourcetracing.models.frontends.lfcc_means import LfccMeans

    wanted = settings.layer_features
    if set(wanted.layers + wanted.copy_layers) - {0}:
        raise UserError(f"layer_features.layers={wanted.layers}: LFCCs are one layer, number 0")
    lfcc = FRONTENDS["lfcc"].load()(sample_rate=settings.audio.sample_rate, **vars(settings.lfcc)).eval()
    return LfccMeans(lfcc, settings.lfcc.n_lfcc, deviation=wanted.lfcc_deviation)


def _encoder_means(settings: Settings, copy: str) -> LayerMeans:
    from sourcetracing.models.frontends.layer_means import LayerMeans  # transformers takes seconds to import

    layers, published = layers_of(settings, copy), settings.layer_features.published_norm
    encoder = load_ssl(replace(settings, ssl=replace(settings.ssl, layer="last", mode="frozen")))
    # Published (D60): augmented copies come from an encoder that is cut at its last layer, plain ones from the whole encoder.
    whole = not layers or max(layers) == len(encoder.blocks)
    try:
        network = LayerMeans(encoder, layers, norm_last=published and (copy != "clean" or whole))
    except ValueError as error:
        raise UserError(f"layer_features.layers of ssl.model={settings.ssl.model}: {error}") from None
    if isinstance(autocast(network.device, settings.compute.precision), torch.autocast):
        convert_once(encoder.network)
    return network.eval()
