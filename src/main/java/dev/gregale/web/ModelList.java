package dev.gregale.web;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import dev.gregale.engine.EngineInfo;
import io.swagger.v3.oas.annotations.media.Schema;
import java.util.List;

/** OpenAI's list of models. */
@JsonPropertyOrder({"object", "data"})
record ModelList(@Schema(allowableValues = "list") String object, List<Model> data) {

  ModelList(List<Model> data) {
    this("list", data);
  }

  /**
   * A model that is served.
   *
   * @param created when it was loaded, in Unix seconds
   * @param maxModelLen tokens of prompt and completion together (vLLM's addition)
   */
  @JsonPropertyOrder({"id", "object", "created", "owned_by", "max_model_len"})
  @Schema(name = "Model")
  record Model(
      String id,
      @Schema(allowableValues = "model") String object,
      long created,
      @JsonProperty("owned_by") String ownedBy,
      @JsonProperty("max_model_len") int maxModelLen) {

    Model(EngineInfo info) {
      this(info.modelName(), "model", info.createdEpochSeconds(), "gregale", info.maxModelLen());
    }
  }
}
