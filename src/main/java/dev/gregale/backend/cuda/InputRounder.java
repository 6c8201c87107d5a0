package dev.gregale.backend.cuda;

import dev.gregale.backend.WeightRole;
import dev.gregale.tensor.InputScaling;
import java.util.Objects;

/**
 * Rounds a product's inputs to what their codes mean, for weights that ask for it where the product
 * itself is of bf16: {@code round_inputs.cu}.
 */
final class InputRounder {
  private static final int THREADS = 128;
  private final KernelLauncher launcher;
  private final Workspace workspace;
  private final SaturationCounts saturation;
  private final KernelFunction round;

  InputRounder(
      KernelLauncher launcher,
      KernelModules modules,
      Workspace workspace,
      SaturationCounts saturation) {
    this.launcher = launcher;
    this.workspace = workspace;
    this.saturation = saturation;
    round = modules.function("round_inputs", "round_inputs_bf16");
  }

  /** Makes room for rows of x. */
  long reserve(int rows, int width) {
    return workspace.address(Workspace.Use.ROUNDED_ROWS, 2L * rows * width);
  }

  /** Where x is as the weight wants it: rounded, in memory of its own, or as it is. */
  long rows(CudaTensor weight, CudaTensor x, int rows, int width) {
    if (!weight.alwaysQuantizesInputs()) {
      return x.address();
    }
    long rounded = reserve(rows, width);
    WeightRole role = weight.shape().rank() == 2 ? WeightRole.LINEAR : WeightRole.EXPERTS_GATE_UP;
    round(weight, role, rounded, x.address(), rows, width);
    return rounded;
  }

  /** Rounds rows where they are. */
  void inPlace(CudaTensor weight, long x, int rows, int width) {
    if (weight.alwaysQuantizesInputs()) {
      round(weight, WeightRole.EXPERTS_DOWN, x, x, rows, width);
    }
  }

  private void round(CudaTensor weight, WeightRole role, long to, long from, int rows, int width) {
    InputScaling inputs = Objects.requireNonNull(weight.inputs());
    launcher
        .begin()
        .add(to)
        .add(from)
        .add(width)
        .add(InputQuantizer.recipe(inputs))
        .add(inputs.scale())
        .add(saturation.counter(role))
        .launch(round, rows, THREADS);
  }
}
