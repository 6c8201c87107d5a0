package dev.gregale.model;

import dev.gregale.backend.Device;
import dev.gregale.backend.ExpertRouting;
import dev.gregale.backend.ForwardBatch;
import dev.gregale.backend.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Runs another backend's ops and keeps a copy of what each wrote, in order. */
final class RecordingKernels extends DelegatingKernels {

  /**
   * One op's result.
   *
   * @param values fp32, or null for expert ids
   * @param ids expert ids, or null
   */
  record Recorded(String op, float[] values, int[] ids) {}

  final List<Recorded> log = new ArrayList<>();
  private final Device backend;

  RecordingKernels(Device backend) {
    super(backend.kernels());
    this.backend = backend;
  }

  private void keep(String op, Tensor tensor, int rows) {
    int width = Math.toIntExact(tensor.shape().numElements() / tensor.shape().dim(0));
    float[] values = new float[rows * width];
    backend.read(tensor, values, values.length);
    log.add(new Recorded(op, values, new int[0]));
  }

  @Override
  public void embed(Tensor out, Tensor table, ForwardBatch batch) {
    super.embed(out, table, batch);
    keep("embed", out, batch.numTokens());
  }

  @Override
  public void rmsNorm(Tensor out, Tensor x, Tensor weight, float eps, int rows) {
    super.rmsNorm(out, x, weight, eps, rows);
    keep("rmsNorm", out, rows);
  }

  @Override
  public void add(Tensor residual, Tensor x, int rows) {
    super.add(residual, x, rows);
    keep("add", residual, rows);
  }

  @Override
  public void matmul(Tensor out, Tensor x, Tensor weight, int rows) {
    super.matmul(out, x, weight, rows);
    keep("matmul", out, rows);
  }

  @Override
  public void routeTopK(ExpertRouting routing, Tensor routerLogits, int rows) {
    super.routeTopK(routing, routerLogits, rows);
    int[] ids = new int[rows * routing.expertIds().shape().intDim(1)];
    float[] weights = new float[ids.length];
    backend.read(routing.expertIds(), ids, ids.length);
    backend.read(routing.expertWeights(), weights, weights.length);
    log.add(new Recorded("routeTopK", weights, ids));
  }

  @Override
  public void expertFeedForward(
      Tensor out, Tensor x, ExpertRouting routing, Tensor gateUp, Tensor down, int rows) {
    super.expertFeedForward(out, x, routing, gateUp, down, rows);
    keep("expertFeedForward", out, rows);
  }
}
