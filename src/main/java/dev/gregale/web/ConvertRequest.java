package dev.gregale.web;

import static dev.gregale.web.Ranges.check;
import static dev.gregale.web.Ranges.range;
import static dev.gregale.web.Ranges.required;

import com.fasterxml.jackson.annotation.JsonAnySetter;
import com.fasterxml.jackson.annotation.JsonProperty;
import dev.gregale.convert.ByteSize;
import dev.gregale.convert.ConversionJob;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.convert.TargetLayout;
import dev.gregale.convert.WeightRecipe;
import dev.gregale.convert.WeightType;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/** The body of {@code POST /admin/convert}. */
@Schema(description = "A conversion. Fields that are not listed here are refused.")
record ConvertRequest(
    @Schema(
            description =
                "Model directory: relative to one of gregale.convert.roots, or absolute in one.",
            requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("source")
        @Nullable String source,
    @Schema(
            description = "Directory to be made, in one that exists; named as source is.",
            requiredMode = Schema.RequiredMode.REQUIRED)
        @JsonProperty("target")
        @Nullable String target,
    @Schema(
            description =
                "Layout to be written. Default: the one that the source does not have; hf with quantize"
                    + " or dequantize; te with expertParallelSize.",
            allowableValues = {"hf", "te"})
        @JsonProperty("to")
        @Nullable String to,
    @Schema(
            description = "Type to be written, rounded to nearest even. Default: as in the source.",
            allowableValues = {"bf16", "fp16", "fp32"})
        @JsonProperty("dtype")
        @Nullable String dtype,
    @Schema(
            description =
                "The projections of attention and experts in FP8, with scales: one for each matrix,"
                    + " for each block of 128 x 128, or for 32 values of a row. dtype is of the other"
                    + " tensors. Default: as in the source, whose codes and scales are kept byte for"
                    + " byte.",
            allowableValues = {"fp8", "fp8-block", "mxfp8"})
        @JsonProperty("quantize")
        @Nullable String quantize,
    @Schema(
            description =
                "Write what is in FP8 in the source as dtype; without dtype, as its other tensors.",
            defaultValue = "false")
        @JsonProperty("dequantize")
        @Nullable Boolean dequantize,
    @Schema(description = "Data per file, as in 5GB or 500MiB.", defaultValue = "5GB")
        @JsonProperty("maxShardSize")
        @Nullable String maxShardSize,
    @Schema(
            description =
                "Ranks that the experts are dealt out to, of te only: each has files of its own, and"
                    + " an index of all that it reads. Must divide the experts. 1: not dealt out.",
            minimum = "1",
            maximum = "256",
            defaultValue = "1")
        @JsonProperty("expertParallelSize")
        @Nullable Integer expertParallelSize,
    @Schema(description = "Replace a checkpoint in the target's place.", defaultValue = "false")
        @JsonProperty("overwrite")
        @Nullable Boolean overwrite,
    @Schema(description = "Check everything, write nothing.", defaultValue = "false")
        @JsonProperty("dryRun")
        @Nullable Boolean dryRun,
    @Schema(
            description =
                "logits: also run both models on a few prompts before the target gets its name."
                    + " Takes memory for one of them. Without dtype, quantize and"
                    + " dequantize they must be equal.",
            allowableValues = "logits")
        @JsonProperty("verify")
        @Nullable String verify,
    @Schema(hidden = true) @JsonAnySetter Map<String, JsonNode> others) {

  /** Refuses what cannot be with a 400. */
  ConversionJob.Order order() {
    others
        .keySet()
        .forEach(
            name ->
                check(false, name, Quoted.of(name) + " is no field of a conversion; leave it out"));
    check(
        verify == null || verify.equals("logits"),
        "verify",
        "verify must be logits, but is " + Quoted.of(String.valueOf(verify)));
    boolean toValues = Boolean.TRUE.equals(dequantize);
    check(
        quantize == null || !toValues,
        "dequantize",
        "quantize and dequantize exclude each other; to quantise anew what is quantised, dequantise"
            + " it first, in a conversion of its own");
    TargetLayout layout = value("to", to, TargetLayout.class);
    int ranks =
        range(
            "expertParallelSize",
            expertParallelSize,
            1,
            1,
            ConversionRequest.MAX_EXPERT_PARALLEL_SIZE);
    check(
        ranks == 1 || layout != TargetLayout.HF,
        "expertParallelSize",
        "expertParallelSize is for te; hf has every expert apart already");
    return new ConversionJob.Order(
        required(source, "source", "source is missing; give a model directory"),
        required(target, "target", "target is missing; give the directory to be made"),
        layout,
        value("dtype", dtype, WeightType.class),
        value("quantize", quantize, WeightRecipe.class),
        toValues,
        maxShardBytes(),
        ranks,
        Boolean.TRUE.equals(overwrite),
        Boolean.TRUE.equals(dryRun),
        verify != null);
  }

  private long maxShardBytes() {
    if (maxShardSize == null) {
      return ConversionRequest.DEFAULT_MAX_SHARD_BYTES;
    }
    try {
      return ByteSize.parse(maxShardSize);
    } catch (IllegalArgumentException e) {
      throw ApiException.badRequest(
          "maxShardSize",
          "maxShardSize must be a size as in 5GB or 500MiB, but is " + Quoted.of(maxShardSize));
    }
  }

  private static <E extends Enum<E>> @Nullable E value(
      String field, @Nullable String given, Class<E> type) {
    if (given == null) {
      return null;
    }
    for (E constant : type.getEnumConstants()) {
      if (name(constant).equals(given)) {
        return constant;
      }
    }
    throw ApiException.badRequest(
        field,
        "%s must be one of %s, but is %s"
            .formatted(
                field,
                Arrays.stream(type.getEnumConstants()).map(ConvertRequest::name).toList(),
                Quoted.of(given)));
  }

  /** As in fp8-block. */
  private static String name(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
