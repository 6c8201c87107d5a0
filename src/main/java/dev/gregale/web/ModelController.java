package dev.gregale.web;

import dev.gregale.engine.EngineInfo;
import dev.gregale.engine.LlmEngine;
import io.swagger.v3.oas.annotations.Operation;
import io.swagger.v3.oas.annotations.responses.ApiResponse;
import io.swagger.v3.oas.annotations.tags.Tag;
import java.util.List;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** What is served. */
@RestController
@Tag(name = "Models", description = "What is served")
final class ModelController {
  private final LlmEngine engine;

  ModelController(LlmEngine engine) {
    this.engine = engine;
  }

  @Operation(operationId = "listModels", summary = "List the models")
  @ApiResponse(responseCode = "200", description = "The models.")
  @GetMapping("/v1/models")
  ModelList models() {
    return new ModelList(List.of(new ModelList.Model(engine.info())));
  }

  /**
   * One model.
   *
   * @param id the rest of the path, for names such as {@code mistralai/Mixtral-8x7B-v0.1}
   */
  @Operation(operationId = "retrieveModel", summary = "Look up a model")
  @ApiResponse(responseCode = "200", description = "The model.")
  @ApiResponse(responseCode = "404", ref = "#/components/responses/ModelNotFound")
  @GetMapping("/v1/models/{*id}")
  ModelList.Model model(@PathVariable String id) {
    EngineInfo info = engine.info();
    String name = id.substring(1);
    if (!name.equals(info.modelName())) {
      throw ApiException.modelNotFound(name, info.modelName());
    }
    return new ModelList.Model(info);
  }
}
