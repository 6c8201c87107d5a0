package dev.gregale.web;

import dev.gregale.convert.ConversionJob;
import dev.gregale.convert.ConversionJobs;
import dev.gregale.convert.JobRefusedException;
import dev.gregale.convert.RootException;
import dev.gregale.convert.TargetException;
import java.io.IOException;
import java.net.URI;
import java.nio.file.NoSuchFileException;
import java.time.Duration;
import java.util.Objects;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.springframework.http.CacheControl;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.http.codec.ServerSentEvent;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Conversion of checkpoints as jobs. Every route is off without configured roots. */
@RestController
final class ConvertController implements ConvertApi {
  private static final Pattern KEY = Pattern.compile("[A-Za-z0-9._:-]{1,128}");
  private static final String RETRY_AFTER_SECONDS = "10";

  private final @Nullable ConversionJobs jobs;
  private final RequestReader requests;
  private final RequestWorkers workers;
  private final Duration interval;

  ConvertController(
      @Nullable ConversionJobs jobs,
      RequestReader requests,
      RequestWorkers workers,
      ConvertProperties properties) {
    this.jobs = jobs;
    this.requests = requests;
    this.workers = workers;
    this.interval = properties.progressInterval();
  }

  @Override
  public Mono<ResponseEntity<ConversionStatus>> start(ServerWebExchange exchange) {
    ConversionJobs running = jobs();
    String key = key(exchange);
    String path = exchange.getRequest().getPath().contextPath().value() + PATH + "/";
    return requests
        .read(exchange, ConvertRequest.class, request -> submit(running, request, key))
        .map(
            job ->
                ResponseEntity.accepted()
                    .location(URI.create(path + job.id()))
                    .body(ConversionStatus.of(job.view())));
  }

  private static @Nullable String key(ServerWebExchange exchange) {
    String key = exchange.getRequest().getHeaders().getFirst(KEY_HEADER);
    if (key != null && !KEY.matcher(key).matches()) {
      throw ApiException.badRequest(
          KEY_HEADER, KEY_HEADER + " must be 1 to 128 letters, digits and . _ : -");
    }
    return key;
  }

  private static ConversionJob submit(
      ConversionJobs jobs, ConvertRequest request, @Nullable String key) {
    ConversionJob.Order order = request.order();
    try {
      return jobs.submit(order, key);
    } catch (RootException e) {
      throw e.isMalformed()
          ? ApiException.badRequest(null, text(e), "malformed_name")
          : ApiException.refused(HttpStatus.FORBIDDEN, text(e), "outside_roots");
    } catch (NoSuchFileException e) {
      throw ApiException.refused(
          HttpStatus.NOT_FOUND,
          "There is no directory for " + Quoted.of(e.getFile()) + " under gregale.convert.roots",
          "no_such_directory");
    } catch (TargetException e) {
      throw ApiException.refused(HttpStatus.CONFLICT, text(e), "target_exists");
    } catch (JobRefusedException e) {
      throw refusal(e);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  private static ApiException refusal(JobRefusedException e) {
    return switch (e.reason()) {
      case FULL ->
          ApiException.refused(HttpStatus.TOO_MANY_REQUESTS, text(e), "too_many_conversions")
              .withHeader(HttpHeaders.RETRY_AFTER, RETRY_AFTER_SECONDS);
      case TARGET_BUSY -> ApiException.refused(HttpStatus.CONFLICT, text(e), "target_busy");
      case KEY_REUSED ->
          ApiException.refused(HttpStatus.UNPROCESSABLE_CONTENT, text(e), "idempotency_key_reused");
    };
  }

  private static String text(RuntimeException e) {
    return Objects.requireNonNullElse(e.getMessage(), "");
  }

  @Override
  public ConversionStatus.All list() {
    return new ConversionStatus.All(
        jobs().list().stream().map(job -> ConversionStatus.of(job.view())).toList());
  }

  @Override
  public ConversionStatus get(String id) {
    return ConversionStatus.of(job(id).view());
  }

  @Override
  public ResponseEntity<Flux<?>> events(String id, ServerWebExchange exchange) {
    Flux<ConversionJob.View> views = watch(job(id));
    boolean lines =
        exchange.getRequest().getHeaders().getAccept().contains(MediaType.APPLICATION_NDJSON);
    return ResponseEntity.ok()
        .contentType(lines ? MediaType.APPLICATION_NDJSON : MediaType.TEXT_EVENT_STREAM)
        .cacheControl(CacheControl.noStore())
        .header("X-Accel-Buffering", "no") // nginx would hold events back
        .body(lines ? views.map(ConversionStatus::of) : views.map(ConvertController::event));
  }

  /** A slow reader misses what is out of date by then, never the end. */
  private Flux<ConversionJob.View> watch(ConversionJob job) {
    return Flux.interval(Duration.ZERO, interval)
        .onBackpressureLatest()
        .map(tick -> job.view())
        .takeUntil(view -> view.state().isFinal());
  }

  private static ServerSentEvent<ConversionStatus> event(ConversionJob.View view) {
    return ServerSentEvent.builder(ConversionStatus.of(view))
        .event(view.state().isFinal() ? "end" : "progress")
        .build();
  }

  @Override
  public Mono<ResponseEntity<ConversionStatus>> cancel(String id) {
    ConversionJobs running = jobs();
    boolean ended = job(id).view().state().isFinal();
    return workers
        .call(() -> running.cancel(id))
        .onErrorMap(JobRefusedException.class, ConvertController::refusal)
        .map(
            job ->
                ended
                    ? ResponseEntity.noContent().<ConversionStatus>build()
                    : ResponseEntity.accepted().body(ConversionStatus.of(job.view())));
  }

  private ConversionJob job(String id) {
    ConversionJob job = jobs().find(id);
    if (job == null) {
      throw ApiException.refused(
          HttpStatus.NOT_FOUND,
          "There is no job " + Quoted.of(id) + "; GET " + PATH + " lists those there are",
          "no_such_job");
    }
    return job;
  }

  private ConversionJobs jobs() {
    if (jobs == null) {
      throw ApiException.refused(
          HttpStatus.FORBIDDEN,
          "Conversion over HTTP is off; set gregale.convert.roots to the directories that sources"
              + " and targets may lie in",
          "conversion_off");
    }
    return jobs;
  }
}
