package dev.gregale.web;

import dev.gregale.engine.EngineOverloadedException;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.springframework.stereotype.Component;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** A bounded pool for what would hold up an event loop: parsing and tokenising a request. */
@Component
final class RequestWorkers implements AutoCloseable {
  private final Scheduler scheduler;

  RequestWorkers(ApiProperties properties) {
    int threads = properties.workerThreads();
    this.scheduler =
        Schedulers.fromExecutorService(
            new ThreadPoolExecutor(
                threads,
                threads,
                0,
                TimeUnit.SECONDS,
                new ArrayBlockingQueue<>(properties.workerQueue()),
                Thread.ofPlatform().name("request-worker-", 0).daemon().factory()));
  }

  /**
   * Runs a task on the pool; errors with {@link EngineOverloadedException} if its queue is full.
   */
  <T> Mono<T> call(Callable<T> task) {
    return Mono.fromCallable(task)
        .subscribeOn(scheduler)
        .onErrorMap(
            RejectedExecutionException.class,
            e -> new EngineOverloadedException("Too many requests wait to be tokenised", 1));
  }

  @Override
  public void close() {
    scheduler.dispose();
  }
}
