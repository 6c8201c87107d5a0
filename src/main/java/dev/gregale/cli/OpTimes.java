package dev.gregale.cli;

import dev.gregale.backend.Kernels;
import dev.gregale.backend.Tensor;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;

/** Adds up how long each op takes, matmuls apart by the shape of their weight. */
final class OpTimes {
  private final Map<String, Long> nanos = new LinkedHashMap<>();

  /** The same ops, timed. Of use where an op has run when it returns, as on the CPU. */
  Kernels around(Kernels ops) {
    return (Kernels)
        Proxy.newProxyInstance(
            Kernels.class.getClassLoader(),
            new Class<?>[] {Kernels.class},
            // A block's composition runs on the proxy, so that the ops within it are seen.
            (proxy, method, arguments) ->
                method.isDefault()
                    ? InvocationHandler.invokeDefault(proxy, method, arguments)
                    : timed(ops, method, arguments));
  }

  private Object timed(Kernels ops, Method method, Object[] arguments) throws Throwable {
    long start = System.nanoTime();
    try {
      return method.invoke(ops, arguments);
    } catch (InvocationTargetException e) {
      throw e.getTargetException();
    } finally {
      String op = method.getName();
      if (op.equals("matmul")) {
        op += " " + ((Tensor) arguments[2]).shape();
      }
      nanos.merge(op, System.nanoTime() - start, Long::sum);
    }
  }

  void clear() {
    nanos.clear();
  }

  /** Each op's share of the time of all, largest first. */
  Map<String, Double> shares() {
    double total = nanos.values().stream().mapToLong(Long::longValue).sum();
    Map<String, Double> shares = new LinkedHashMap<>();
    nanos.entrySet().stream()
        .sorted(Map.Entry.comparingByValue(Comparator.reverseOrder()))
        .forEach(entry -> shares.put(entry.getKey(), entry.getValue() / total));
    return shares;
  }
}
