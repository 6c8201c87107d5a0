package dev.gregale.cli;

import dev.gregale.checkpoint.Checkpoint;
import dev.gregale.checkpoint.CheckpointException;
import dev.gregale.checkpoint.CheckpointLayout;
import dev.gregale.checkpoint.ConfigJson;
import dev.gregale.checkpoint.QuantizationConfig;
import dev.gregale.checkpoint.TensorSpec;
import dev.gregale.config.ExitCode;
import dev.gregale.config.StartupException;
import dev.gregale.convert.Manifest;
import dev.gregale.model.LoadFormat;
import dev.gregale.model.MixtralConfig;
import dev.gregale.model.ModelLoader;
import dev.gregale.model.Precision;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.json.JsonMapper;

@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    description =
        "Checks a model directory, and its sums where it has a manifest; tells what is in it.")
final class InspectCommand implements Callable<Integer> {

  @Parameters(paramLabel = "DIR", description = "Model directory.")
  private Path directory = Path.of(".");

  @Option(names = "--json", description = "For machines.")
  private boolean json;

  /**
   * What is in a model directory.
   *
   * @param layout whose names its tensors have
   * @param expertParallelSize ranks that its experts are dealt out to; 1: they are whole
   * @param tensors number of them, all ranks' shares being one
   * @param parameters elements of all of them, scales of quantised weights included
   * @param bytes of all of them
   * @param dtypes elements by type
   * @param verified tensors and files whose sums were compared with the manifest of a conversion; 0
   *     without one
   * @param quantization how its weights are quantised; null: they are not
   * @param config what decides the forward pass
   */
  record Contents(
      CheckpointLayout layout,
      int expertParallelSize,
      int tensors,
      long parameters,
      long bytes,
      Map<String, Long> dtypes,
      int verified,
      @Nullable QuantizationConfig quantization,
      MixtralConfig config) {}

  @Override
  public Integer call() {
    Contents contents = read();
    if (json) {
      System.out.println(
          JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(contents));
    } else {
      System.out.printf(
          "%s%nlayout      %s%s%ntensors     %d%nparameters  %,d%nbytes       %,d%ndtypes      %s%nsums        %s%nquantised   %s%n%s%n",
          directory,
          contents.layout(),
          contents.expertParallelSize() == 1
              ? ""
              : ", experts for %d ranks".formatted(contents.expertParallelSize()),
          contents.tensors(),
          contents.parameters(),
          contents.bytes(),
          contents.dtypes(),
          contents.verified() == 0 ? "no manifest" : contents.verified() + " verified",
          contents.quantization() == null ? "no" : contents.quantization(),
          contents.config());
    }
    return 0;
  }

  private Contents read() {
    try (ModelLoader loader = ModelLoader.open(directory, LoadFormat.AUTO, Precision.AS_STORED);
        Checkpoint checkpoint = Checkpoint.open(directory)) {
      long parameters = 0;
      long bytes = 0;
      Map<String, Long> dtypes = new TreeMap<>();
      for (String name : checkpoint.names()) {
        TensorSpec tensor = checkpoint.spec(name);
        parameters += tensor.shape().numElements();
        bytes += tensor.bytes();
        dtypes.merge(tensor.dtype().name(), tensor.shape().numElements(), Long::sum);
      }
      return new Contents(
          CheckpointLayout.of(checkpoint),
          checkpoint.expertParallelSize(),
          checkpoint.names().size(),
          parameters,
          bytes,
          dtypes,
          verify(checkpoint),
          QuantizationConfig.of(ConfigJson.read(directory.resolve(Checkpoint.CONFIG_FILE))),
          loader.config());
    } catch (CheckpointException e) {
      throw new StartupException(ExitCode.DATA, String.valueOf(e.getMessage()));
    }
  }

  private int verify(Checkpoint checkpoint) {
    if (!Manifest.isIn(directory)) {
      return 0;
    }
    Manifest manifest = Manifest.read(directory);
    manifest.verify(checkpoint);
    return manifest.tensors().size() + manifest.files().size();
  }
}
