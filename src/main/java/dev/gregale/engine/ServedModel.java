package dev.gregale.engine;

/**
 * What the engine has to know of the model it serves.
 *
 * @param name the name requests must give
 * @param createdEpochSeconds when it was loaded
 * @param vocabSize token ids run from 0 to this, exclusive
 * @param eosTokenIds its end-of-sequence tokens; may be empty
 * @param routing its experts
 */
public record ServedModel(
    String name, long createdEpochSeconds, int vocabSize, int[] eosTokenIds, RoutingShape routing) {

  public ServedModel {
    eosTokenIds = eosTokenIds.clone();
    for (int id : eosTokenIds) {
      if (id < 0 || id >= vocabSize) {
        throw new IllegalArgumentException(
            "end-of-sequence token %d of %s is not in its vocabulary of %d"
                .formatted(id, name, vocabSize));
      }
    }
  }
}
