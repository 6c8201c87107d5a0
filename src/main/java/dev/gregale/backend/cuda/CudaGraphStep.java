package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import dev.gregale.backend.Step;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUstreamCaptureMode;
import jcuda.driver.JCudaDriver;

/** Launches captured once and replayed by one call. */
final class CudaGraphStep implements Step {
  private final CudaContext context;
  private final DeferredWrites deferred;
  private final CUgraphExec graph;

  private CudaGraphStep(CudaContext context, DeferredWrites deferred, CUgraphExec graph) {
    this.context = context;
    this.deferred = deferred;
    this.graph = graph;
  }

  /**
   * Rows that a step of so many sequences is recorded with. Every size up to 16, where a padded row
   * could wake another expert; above, where all experts run anyway, in steps of about an eighth.
   */
  static int rowsFor(int numSeqs) {
    int step = numSeqs <= 16 ? 1 : Math.max(8, Integer.highestOneBit(numSeqs - 1) / 8);
    return Math.ceilDiv(numSeqs, step) * step;
  }

  /** Captures what the work queues on the context's stream; nothing of it runs yet. */
  static CudaGraphStep capture(CudaContext context, DeferredWrites deferred, Runnable work) {
    CUgraph captured = new CUgraph();
    // Relaxed: scratch may grow while capturing, and other threads' calls do not spoil it.
    check(
        JCudaDriver.cuStreamBeginCapture(
            context.stream(), CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED),
        "beginning a capture");
    try {
      work.run();
    } catch (RuntimeException e) {
      JCudaDriver.cuStreamEndCapture(context.stream(), captured);
      throw e;
    }
    context.enter(); // other ranks may have taken turns
    check(JCudaDriver.cuStreamEndCapture(context.stream(), captured), "ending a capture");
    CUgraphExec graph = new CUgraphExec();
    check(JCudaDriver.cuGraphInstantiate(graph, captured, 0), "making a graph");
    check(JCudaDriver.cuGraphDestroy(captured), "dropping a captured graph");
    return new CudaGraphStep(context, deferred, graph);
  }

  @Override
  public void run() {
    context.enter();
    deferred.flush();
    check(JCudaDriver.cuGraphLaunch(graph, context.stream()), "launching a graph");
  }

  void destroy() {
    JCudaDriver.cuGraphExecDestroy(graph);
  }
}
