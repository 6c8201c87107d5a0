package dev.gregale.engine;

/**
 * What the engine serves.
 *
 * @param modelName the name requests must give
 * @param createdEpochSeconds when the model was loaded
 * @param vocabSize token ids run from 0 to this, exclusive
 * @param maxModelLen prompt and output of one sequence, in tokens, at most
 * @param maxSequencesPerRequest prompts times n, at most
 * @param maxTokensPerRequest prompts times n times max_tokens, at most
 * @param schedulingPolicy whether requests may have a priority
 * @param routing the model's experts
 */
public record EngineInfo(
    String modelName,
    long createdEpochSeconds,
    int vocabSize,
    int maxModelLen,
    int maxSequencesPerRequest,
    long maxTokensPerRequest,
    SchedulingPolicy schedulingPolicy,
    RoutingShape routing) {}
