package dev.gregale.web;

import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.Parameter;
import io.swagger.v3.oas.annotations.enums.ParameterIn;
import io.swagger.v3.oas.annotations.headers.Header;
import io.swagger.v3.oas.annotations.media.Content;
import io.swagger.v3.oas.annotations.media.ExampleObject;
import io.swagger.v3.oas.annotations.media.Schema;
import io.swagger.v3.oas.annotations.parameters.RequestBody;
import io.swagger.v3.oas.annotations.responses.ApiResponse;
import io.swagger.v3.oas.annotations.tags.Tag;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.DeleteMapping;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.server.ServerWebExchange;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The routes of checkpoint conversion and their documentation. */
@Tag(
    name = "Conversion",
    description =
        "Hugging Face to TransformerEngine and back, as jobs. Off unless gregale.convert.roots names"
            + " the directories that sources and targets may lie in.")
interface ConvertApi {
  String PATH = "/admin/convert";
  String KEY_HEADER = "Idempotency-Key";

  @Operation(
      operationId = "startConversion",
      summary = "Convert a checkpoint",
      description =
          "Begins a job and answers at once. The target appears when it is complete, on the disk and"
              + " read back. A conversion that failed half-way is gone on with by the same request.",
      parameters =
          @Parameter(
              in = ParameterIn.HEADER,
              name = KEY_HEADER,
              description =
                  "1 to 128 letters, digits and . _ : -. The same key again, with the same body,"
                      + " gives the job that it began.",
              schema = @Schema(type = "string")),
      requestBody =
          @RequestBody(
              required = true,
              content =
                  @Content(
                      mediaType = MediaType.APPLICATION_JSON_VALUE,
                      schema = @Schema(implementation = ConvertRequest.class),
                      examples = {
                        @ExampleObject(name = "convert", value = Examples.CONVERT),
                        @ExampleObject(name = "check only", value = Examples.DRY_RUN),
                        @ExampleObject(name = "quantise", value = Examples.QUANTIZE),
                        @ExampleObject(name = "experts for two ranks", value = Examples.RANKS),
                        @ExampleObject(name = "all options", value = Examples.ALL)
                      })))
  @ApiResponse(
      responseCode = "202",
      description = "The job.",
      headers = @Header(name = "Location", description = "Where the job is."),
      content =
          @Content(
              mediaType = MediaType.APPLICATION_JSON_VALUE,
              schema = @Schema(implementation = ConversionStatus.class),
              examples = @ExampleObject(Examples.RUNNING)))
  @ApiResponse(responseCode = "400", ref = "#/components/responses/ConversionInvalid")
  @ApiResponse(responseCode = "409", ref = "#/components/responses/TargetTaken")
  @ApiResponse(responseCode = "422", ref = "#/components/responses/IdempotencyKeyReused")
  @ApiResponse(responseCode = "429", ref = "#/components/responses/TooManyConversions")
  @AdminErrors
  @PostMapping(path = PATH, consumes = MediaType.APPLICATION_JSON_VALUE)
  Mono<ResponseEntity<ConversionStatus>> start(
      @Parameter(hidden = true) ServerWebExchange exchange);

  @Operation(operationId = "listConversions", summary = "The jobs, newest first")
  @AdminErrors
  @GetMapping(PATH)
  ConversionStatus.All list();

  @Operation(operationId = "getConversion", summary = "A job")
  @AdminErrors
  @GetMapping(PATH + "/{id}")
  ConversionStatus get(@PathVariable("id") String id);

  @Operation(
      operationId = "watchConversion",
      summary = "A job's progress",
      description =
          "The job at once and then twice a second (gregale.convert.progress-interval) until it ends:"
              + " `event: progress` frames and a last `event: end`, or lines of JSON where Accept asks"
              + " for application/x-ndjson.")
  @ApiResponse(
      responseCode = "200",
      description = "The job, again and again.",
      content = {
        @Content(
            mediaType = MediaType.TEXT_EVENT_STREAM_VALUE,
            schema = @Schema(type = "string"),
            examples = @ExampleObject(Examples.EVENTS)),
        @Content(
            mediaType = MediaType.APPLICATION_NDJSON_VALUE,
            schema = @Schema(implementation = ConversionStatus.class))
      })
  @AdminErrors
  @GetMapping(
      path = PATH + "/{id}/events",
      produces = {MediaType.TEXT_EVENT_STREAM_VALUE, MediaType.APPLICATION_NDJSON_VALUE})
  ResponseEntity<Flux<?>> events(
      @PathVariable("id") String id, @Parameter(hidden = true) ServerWebExchange exchange);

  @Operation(
      operationId = "cancelConversion",
      summary = "Cancel a job, or forget one that has ended",
      description =
          "What a cancelled or failed job has written is removed; a target that was made stays.")
  @ApiResponse(responseCode = "202", description = "The job is being cancelled.")
  @ApiResponse(
      responseCode = "204",
      description = "The job had ended and is forgotten.",
      content = @Content)
  @AdminErrors
  @DeleteMapping(PATH + "/{id}")
  Mono<ResponseEntity<ConversionStatus>> cancel(@PathVariable("id") String id);

  /** Requests and answers as the documentation shows them. */
  final class Examples {
    static final String CONVERT =
        """
        {"source": "Mixtral-8x7B-v0.1", "target": "Mixtral-8x7B-te"}""";

    static final String DRY_RUN =
        """
        {"source": "Mixtral-8x7B-v0.1", "target": "Mixtral-8x7B-te", "dryRun": true}""";

    static final String QUANTIZE =
        """
        {"source": "Mixtral-8x7B-v0.1", "target": "Mixtral-8x7B-fp8", "quantize": "fp8-block"}""";

    static final String RANKS =
        """
        {"source": "Mixtral-8x7B-v0.1", "target": "Mixtral-8x7B-te-ep2", "to": "te",
         "expertParallelSize": 2}""";

    static final String ALL =
        """
        {"source": "Mixtral-8x7B-fp8", "target": "Mixtral-8x7B-fp32", "to": "hf",
         "dequantize": true, "dtype": "fp32", "maxShardSize": "10GB", "expertParallelSize": 1,
         "overwrite": true, "dryRun": false, "verify": "logits"}""";

    static final String RUNNING =
        """
        {"id": "conv-0b0d0c5e-6f7c-4c59-9d3e-0d5b0b1f2a10", "state": "running",
         "source": "Mixtral-8x7B-v0.1", "target": "Mixtral-8x7B-te", "dryRun": false,
         "createdAt": "2026-11-23T10:15:00Z", "startedAt": "2026-11-23T10:15:00Z",
         "progress": {"phase": "copy", "tensor": "model.layers.3.mlp.experts_gate_up_weight",
           "bytesDone": 11274289152, "bytesTotal": 93405585408, "bytesPerSecond": 951000000,
           "secondsLeft": 86}}""";

    static final String EVENTS =
        """
        event:progress
        data:{"id":"conv-0b0d0c5e","state":"running","source":"Mixtral-8x7B-v0.1",\
        "target":"Mixtral-8x7B-te","dryRun":false,"createdAt":"2026-11-23T10:15:00Z",\
        "progress":{"phase":"copy","tensor":"model.layers.3.mlp.experts_gate_up_weight",\
        "bytesDone":11274289152,"bytesTotal":93405585408,"bytesPerSecond":951000000,\
        "secondsLeft":86}}

        """;

    private Examples() {}
  }
}
