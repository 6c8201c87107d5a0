package dev.gregale.backend.cuda;

import static dev.gregale.backend.cuda.CudaErrorException.check;

import dev.gregale.backend.Timeline;
import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/** Events on the context's stream. */
final class CudaTimeline implements Timeline, AutoCloseable {
  private final CudaContext context;
  private final List<CUevent> events = new ArrayList<>();
  private int count;

  CudaTimeline(CudaContext context) {
    this.context = context;
  }

  @Override
  public int mark() {
    context.enter();
    if (count == events.size()) {
      CUevent event = new CUevent();
      check(JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DEFAULT), "an event");
      events.add(event);
    }
    check(JCudaDriver.cuEventRecord(events.get(count), context.stream()), "recording an event");
    return count++;
  }

  @Override
  public double millis(int from, int to) {
    context.enter();
    float[] millis = new float[1];
    context.await(events.get(to));
    check(JCudaDriver.cuEventElapsedTime(millis, events.get(from), events.get(to)), "an event");
    return millis[0];
  }

  @Override
  public void clear() {
    count = 0;
  }

  @Override
  public void close() {
    events.forEach(JCudaDriver::cuEventDestroy);
    events.clear();
  }
}
