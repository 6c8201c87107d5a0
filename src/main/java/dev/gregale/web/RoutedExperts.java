package dev.gregale.web;

import dev.gregale.engine.RoutingShape;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The experts of a choice's tokens, on their way into an answer: as in vLLM, base64 of a file in
 * NumPy's format, an array {@code [tokens, layers, experts per token]}.
 */
final class RoutedExperts {
  private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  private static final int ALIGNMENT = 64;
  private static final int MAX_ONE_BYTE_EXPERTS = 256;

  private final RoutingShape shape;
  private List<short[]> pieces = new ArrayList<>();

  RoutedExperts(RoutingShape shape) {
    this.shape = shape;
  }

  /**
   * @param expertIds {@code [tokens, L, K]}
   */
  void add(short[] expertIds) {
    pieces.add(expertIds);
  }

  /** What has come since the last call; null if nothing has. */
  @Nullable String take() {
    if (pieces.isEmpty()) {
      return null;
    }
    boolean isOneByte = shape.numExperts() <= MAX_ONE_BYTE_EXPERTS;
    int ids = pieces.stream().mapToInt(piece -> piece.length).sum();
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    file.writeBytes(header(isOneByte ? "|u1" : "<u2", ids / shape.idsPerToken()));
    ByteBuffer data = ByteBuffer.allocate(isOneByte ? ids : 2 * ids).order(ByteOrder.LITTLE_ENDIAN);
    for (short[] piece : pieces) {
      for (short id : piece) {
        if (isOneByte) {
          data.put((byte) id);
        } else {
          data.putShort(id);
        }
      }
    }
    file.writeBytes(data.array());
    pieces = new ArrayList<>();
    return Base64.getEncoder().encodeToString(file.toByteArray());
  }

  /** Version 1.0: magic, length of the description, the description, padded with spaces. */
  private byte[] header(String type, int tokens) {
    String description =
        "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d, %d), }"
            .formatted(type, tokens, shape.numLayers(), shape.numExpertsPerTok());
    int unpadded = MAGIC.length + Short.BYTES + description.length() + 1;
    int padding = Math.ceilDiv(unpadded, ALIGNMENT) * ALIGNMENT - unpadded;
    byte[] text = (description + " ".repeat(padding) + "\n").getBytes(StandardCharsets.US_ASCII);
    return ByteBuffer.allocate(MAGIC.length + Short.BYTES + text.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(MAGIC)
        .putShort((short) text.length)
        .put(text)
        .array();
  }
}
