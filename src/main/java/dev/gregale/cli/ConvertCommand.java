package dev.gregale.cli;

import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.config.ExitCode;
import dev.gregale.config.LogitsComparison;
import dev.gregale.config.StartupException;
import dev.gregale.convert.ByteSize;
import dev.gregale.convert.CheckpointConverter;
import dev.gregale.convert.ConversionRequest;
import dev.gregale.convert.ConversionResult;
import dev.gregale.convert.IoReason;
import dev.gregale.convert.LogitsDifference;
import dev.gregale.convert.TargetException;
import dev.gregale.convert.TargetLayout;
import dev.gregale.convert.VerificationException;
import dev.gregale.convert.WeightRecipe;
import dev.gregale.convert.WeightType;
import dev.gregale.quantization.Quantization;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;
import tools.jackson.databind.json.JsonMapper;

@Command(
    name = "convert",
    mixinStandardHelpOptions = true,
    description = {
      "Converts a checkpoint between Hugging Face's and TransformerEngine's layout.",
      "DST appears only when it is complete and read back. After an interruption the same command"
          + " goes on where it stopped."
    })
final class ConvertCommand implements Callable<Integer> {

  /** As in 5GB. */
  static final class Size implements ITypeConverter<Long> {
    @Override
    public Long convert(String text) {
      try {
        return ByteSize.parse(text);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  @Spec private CommandSpec spec = CommandSpec.create(); // picocli puts its own here

  @Parameters(paramLabel = "SRC", description = "Model directory.")
  private Path source = Path.of("");

  @Parameters(paramLabel = "DST", description = "Directory to be made.")
  private Path target = Path.of("");

  @Option(
      names = "--to",
      description =
          "te or hf; default: the one that SRC is not; hf with --quantize or --dequantize; te with"
              + " --expert-parallel-size.")
  private @Nullable TargetLayout to;

  @Option(
      names = "--dtype",
      description = "bf16, fp16 or fp32, rounded to nearest even; default: as in SRC.")
  private @Nullable WeightType dtype;

  @Option(
      names = "--quantize",
      description =
          "fp8, fp8-block or mxfp8: attention and experts in FP8 with scales. Codes and scales of an"
              + " SRC that has them are kept byte for byte.")
  private @Nullable WeightRecipe quantize;

  @Option(
      names = "--dequantize",
      description =
          "Write what is in FP8 in SRC as --dtype; without --dtype, as SRC's other tensors.")
  private boolean dequantize;

  @Option(
      names = "--max-shard-size",
      defaultValue = "5GB",
      converter = Size.class,
      description = "Data per file, as in 5GB or 500MiB; default ${DEFAULT-VALUE}.")
  private long maxShardBytes;

  @Option(
      names = "--expert-parallel-size",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Deal the experts out to files of N ranks, in TransformerEngine's layout (then the default"
              + " of --to); default ${DEFAULT-VALUE}: not.")
  private int expertParallelSize;

  @Option(names = "--resume", description = "Fail if there is no interrupted conversion.")
  private boolean resume;

  @Option(
      names = "--overwrite",
      description = "Replace a checkpoint at DST; give up an interrupted conversion of another.")
  private boolean overwrite;

  /** What is compared beside the bytes. */
  enum Verification {
    LOGITS
  }

  @Option(
      names = "--verify",
      paramLabel = "logits",
      description =
          "Also run both models on a few prompts and tell how far losses and logits are apart."
              + " Takes memory for one of them. Without --dtype, --quantize and --dequantize they must be"
              + " equal.")
  private @Nullable Verification verify;

  @Option(names = "--dry-run", description = "Check everything, write nothing.")
  private boolean dryRun;

  @Option(names = "--json", description = "For machines.")
  private boolean json;

  @Override
  public Integer call() {
    if (!Files.isDirectory(source)) {
      throw new StartupException(ExitCode.NO_INPUT, source + ": no such directory");
    }
    requireSense();
    try {
      ConversionResult result = convert();
      System.out.println(json ? JsonMapper.shared().writeValueAsString(result) : describe(result));
      return ExitCode.OK.code();
    } catch (CheckpointException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    } catch (TargetException e) {
      throw new StartupException(ExitCode.CANNOT_CREATE, String.valueOf(e.getMessage()));
    } catch (VerificationException e) {
      throw new StartupException(ExitCode.SOFTWARE, String.valueOf(e.getMessage()));
    } catch (IOException e) {
      throw new StartupException(
          ExitCode.IO_ERROR,
          "%s: %s; the same command goes on where this one stopped"
              .formatted(target, IoReason.of(e)));
    }
  }

  private void requireSense() {
    if (quantize != null && dequantize) {
      throw new ParameterException(
          spec.commandLine(),
          "--quantize and --dequantize exclude each other; to quantise anew what is quantised,"
              + " dequantise it first, in a conversion of its own");
    }
    if (expertParallelSize < 1 || expertParallelSize > ConversionRequest.MAX_EXPERT_PARALLEL_SIZE) {
      throw new ParameterException(
          spec.commandLine(),
          "--expert-parallel-size must be between 1 and %d, but is %d"
              .formatted(ConversionRequest.MAX_EXPERT_PARALLEL_SIZE, expertParallelSize));
    }
    if (expertParallelSize > 1 && to == TargetLayout.HF) {
      throw new ParameterException(
          spec.commandLine(),
          "--expert-parallel-size is for --to te; Hugging Face's layout has every expert apart"
              + " already");
    }
  }

  private ConversionResult convert() throws IOException {
    CheckpointConverter converter =
        new CheckpointConverter(verify == null ? null : new LogitsComparison());
    ConversionRequest request =
        new ConversionRequest(
            source,
            target,
            to == null ? null : to.layout(),
            dtype == null ? null : dtype.dtype(),
            quantize == null ? Quantization.NONE : quantize.quantization(),
            dequantize,
            maxShardBytes,
            expertParallelSize,
            overwrite,
            resume);
    if (dryRun) {
      return converter.plan(request);
    }
    try (ProgressBar bar = new ProgressBar(System.err)) {
      return converter.convert(request, bar);
    }
  }

  private String describe(ConversionResult result) {
    return "%s%s: %s to %s%s, %d tensors, %,d bytes in %d file%s%s"
            .formatted(
                dryRun ? "would write " : "",
                target,
                result.from(),
                result.to(),
                result.expertParallelSize() == 1
                    ? ""
                    : ", experts for %d ranks".formatted(result.expertParallelSize()),
                result.tensors(),
                result.bytes(),
                result.shards(),
                result.shards() == 1 ? "" : "s",
                result.resumedBytes() == 0
                    ? ""
                    : ", %,d of them done before".formatted(result.resumedBytes()))
        + (result.difference() == null ? "" : describe(result.difference()));
  }

  private static String describe(LogitsDifference difference) {
    return """

        logits of %d prompts, %d tokens: %s
          largest difference  %.3g
          mean difference     %.3g
          same likeliest      %.2f%%
          loss                %.6f, converted %.6f"""
        .formatted(
            difference.prompts(),
            difference.tokens(),
            difference.identical() ? "identical, bit for bit" : "different",
            difference.maxAbsDifference(),
            difference.meanAbsDifference(),
            100 * difference.sameArgmax(),
            difference.sourceLoss(),
            difference.convertedLoss());
  }
}
