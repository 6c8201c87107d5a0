package dev.gregale.config;

import dev.gregale.model.LoadFormat;
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
 */
@ConfigurationProperties("gregale.model")
public record ModelProperties(
    @Nullable String path, @Nullable String name, @DefaultValue("auto") LoadFormat loadFormat) {}
