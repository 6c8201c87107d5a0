package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonInclude;
import dev.gregale.convert.ConversionJob;
import dev.gregale.convert.ConversionProgress;
import dev.gregale.convert.ConversionResult;
import dev.gregale.convert.ProgressMeter;
import io.swagger.v3.oas.annotations.media.Schema;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** A conversion as the API tells it. What is not known yet is left out. */
@Schema(name = "Conversion")
@JsonInclude(JsonInclude.Include.NON_NULL)
record ConversionStatus(
    @Schema(requiredMode = Schema.RequiredMode.REQUIRED) String id,
    @Schema(
            requiredMode = Schema.RequiredMode.REQUIRED,
            description = "The last three are final.",
            allowableValues = {
              "queued",
              "running",
              "cancelling",
              "succeeded",
              "failed",
              "cancelled"
            })
        String state,
    @Schema(requiredMode = Schema.RequiredMode.REQUIRED) String source,
    @Schema(requiredMode = Schema.RequiredMode.REQUIRED) String target,
    @Schema(requiredMode = Schema.RequiredMode.REQUIRED) boolean dryRun,
    @Schema(requiredMode = Schema.RequiredMode.REQUIRED) Instant createdAt,
    @Nullable Instant startedAt,
    @Nullable Instant finishedAt,
    @Nullable Progress progress,
    @Schema(description = "What was made, or would be; once it has succeeded.")
        @Nullable ConversionResult result,
    @Schema(description = "What went wrong and what to do; once it has failed.")
        @Nullable String error) {

  /** How far it is. */
  @Schema(name = "ConversionProgress")
  @JsonInclude(JsonInclude.Include.NON_NULL)
  record Progress(
      @Schema(
              description =
                  "check: what an interrupted run has written is read again; then copy, verify,"
                      + " publish.",
              allowableValues = {"check", "copy", "verify", "publish"})
          String phase,
      @Schema(description = "The latest of the tensors; several are written at a time.")
          String tensor,
      @Schema(description = "Written and read back.") long bytesDone,
      long bytesTotal,
      long bytesPerSecond,
      @Nullable Long secondsLeft) {}

  /** All that are remembered, newest first. */
  @Schema(name = "ConversionList")
  record All(List<ConversionStatus> conversions) {}

  static ConversionStatus of(ConversionJob.View job) {
    return new ConversionStatus(
        job.id(),
        lower(job.state()),
        job.order().source(),
        job.order().target(),
        job.order().dryRun(),
        job.createdAt(),
        job.startedAt(),
        job.finishedAt(),
        job.reading() == null ? null : progress(job.reading()),
        job.result(),
        job.error());
  }

  private static Progress progress(ProgressMeter.Reading reading) {
    ConversionProgress progress = reading.progress();
    return new Progress(
        lower(progress.phase()),
        progress.tensor(),
        progress.bytesDone(),
        progress.bytesTotal(),
        reading.bytesPerSecond(),
        reading.secondsLeft());
  }

  private static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }
}
