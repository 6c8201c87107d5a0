package dev.gregale.config;

import dev.gregale.model.LoadFormat;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling.When;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Which model is served.
 *
 * @param path Directory of a Mixtral checkpoint in Hugging Face or TransformerEngine layout.
 *     Default: the bundled demo model.
 * @param name Name that requests give as "model". Default: the name of the directory.
 * @param loadFormat How the weights are stored: auto recognises Hugging Face and TransformerEngine;
 *     dummy takes only config.json and serves random weights, for measuring speed.
 * @param quantization Quantise the weights of attention and experts to FP8 while they are loaded:
 *     fp8 with a scale per matrix, fp8-block per 128 x 128 block, mxfp8 per 32 values. none takes
 *     them as they are stored, quantised or not.
 * @param activationQuantization Whether what is multiplied by quantised weights is quantised to FP8
 *     too: never; if-faster, in prefill on a GPU that is faster so; always.
 */
@ConfigurationProperties("gregale.model")
public record ModelProperties(
    @Nullable String path,
    @Nullable String name,
    @DefaultValue("auto") LoadFormat loadFormat,
    @DefaultValue("none") Quantization quantization,
    @DefaultValue("if-faster") When activationQuantization) {}
