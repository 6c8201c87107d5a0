package dev.gregale.cli;

import dev.gregale.backend.Kernels;
import dev.gregale.backend.ModelOps;
import dev.gregale.backend.Tensor;
import dev.gregale.backend.Timeline;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Adds up how long each op takes where it runs, matmuls apart by the shape of their weight. */
final class OpTimes {

  private record Lap(String op, int from, int to) {}

  private final Timeline timeline;
  private final List<Lap> laps = new ArrayList<>();

  OpTimes(Timeline timeline) {
    this.timeline = timeline;
  }

  /** The same ops, timed; a block as the backend computes it. */
  ModelOps around(ModelOps ops) {
    return proxy(ModelOps.class, ops);
  }

  /** The same, but blocks of one device run as their composition, so that ops within are seen. */
  ModelOps within(ModelOps ops) {
    return ops instanceof Kernels ? proxy(Kernels.class, ops) : around(ops);
  }

  private <T extends ModelOps> T proxy(Class<T> type, ModelOps ops) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (proxy, method, arguments) ->
                method.isDefault()
                    ? InvocationHandler.invokeDefault(proxy, method, arguments)
                    : timed(ops, method, arguments)));
  }

  private Object timed(ModelOps ops, Method method, Object[] arguments) throws Throwable {
    int from = timeline.mark();
    try {
      return method.invoke(ops, arguments);
    } catch (InvocationTargetException e) {
      throw e.getTargetException();
    } finally {
      String op = method.getName();
      if (op.equals("matmul")) {
        op += " " + ((Tensor) arguments[2]).shape();
      }
      laps.add(new Lap(op, from, timeline.mark()));
    }
  }

  void clear() {
    laps.clear();
    timeline.clear();
  }

  /** Milliseconds of each op since {@link #clear}, largest first. */
  Map<String, Double> millis() {
    Map<String, Double> sums = new LinkedHashMap<>();
    laps.forEach(lap -> sums.merge(lap.op(), timeline.millis(lap.from(), lap.to()), Double::sum));
    Map<String, Double> sorted = new LinkedHashMap<>();
    sums.entrySet().stream()
        .sorted(Map.Entry.comparingByValue(Comparator.reverseOrder()))
        .forEach(entry -> sorted.put(entry.getKey(), entry.getValue()));
    return sorted;
  }
}
