package dev.gregale.checkpoint;

import static dev.gregale.checkpoint.CheckpointException.quote;

import dev.gregale.tensor.DType;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/** A safetensors file that is to be written: its header, and where each tensor will lie. */
public final class ShardLayout {

  private static final JsonFactory JSON = new JsonFactory();

  /** As in Hugging Face's writer: wider types first, so that all data is aligned; then by name. */
  private static final Comparator<TensorSpec> FILE_ORDER =
      Comparator.<TensorSpec>comparingInt(tensor -> -width(tensor.dtype()))
          .thenComparing(TensorSpec::name);

  private final String fileName;
  private final @Nullable ExpertRank rank;
  private final ShardOffsets offsets;
  private final ByteBuffer head;
  private final List<TensorInfo> tensors;

  private ShardLayout(
      String fileName,
      @Nullable ExpertRank rank,
      ShardOffsets offsets,
      ByteBuffer head,
      List<TensorInfo> tensors) {
    this.fileName = fileName;
    this.rank = rank;
    this.offsets = offsets;
    this.head = head;
    this.tensors = List.copyOf(tensors);
  }

  /**
   * Lays out one file, in the given order; the data begins at a multiple of 8 bytes.
   *
   * @throws CheckpointException if a name occurs twice or the header would be too long
   */
  public static ShardLayout of(
      String fileName, List<TensorSpec> specs, Map<String, String> metadata) {
    return of(fileName, null, ShardOffsets.NONE, specs, metadata);
  }

  private static ShardLayout of(
      String fileName,
      @Nullable ExpertRank rank,
      ShardOffsets offsets,
      List<TensorSpec> specs,
      Map<String, String> metadata) {
    byte[] header = header(fileName, specs, metadata);
    ByteBuffer head = ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
    head.putLong(header.length).put(header).flip();
    List<TensorInfo> infos = new ArrayList<>();
    long offset = head.limit();
    for (TensorSpec spec : specs) {
      infos.add(new TensorInfo(spec.name(), spec.dtype(), spec.shape(), offset, spec.bytes()));
      offset += spec.bytes();
    }
    return new ShardLayout(fileName, rank, offsets, head, infos);
  }

  /**
   * Lays out a checkpoint as Hugging Face's {@code save_pretrained} does: a file is filled in the
   * given order up to {@code maxBytes} of data, a larger tensor has a file of its own, and the
   * order within a file is by type and name. One file is {@code model.safetensors}.
   *
   * @throws CheckpointException if a name occurs twice or there would be too many files
   */
  public static List<ShardLayout> split(List<TensorSpec> tensors, long maxBytes) {
    List<List<TensorSpec>> files = fill(tensors, maxBytes);
    return files.size() == 1
        ? List.of(of(Checkpoint.SINGLE_FILE, files.getFirst(), SafetensorsWriter.PYTORCH_METADATA))
        : numbered("model", null, files);
  }

  /** Lays out, in the same way, what all ranks of a checkpoint have alike. */
  public static List<ShardLayout> replicated(List<TensorSpec> tensors, long maxBytes) {
    return numbered("model-replicated", null, fill(tensors, maxBytes));
  }

  /** Lays out, in the same way, a rank's experts. */
  public static List<ShardLayout> ofRank(ExpertRank rank, List<TensorSpec> shares, long maxBytes) {
    return numbered("model-" + rank.variant(), rank, fill(shares, maxBytes));
  }

  private static List<List<TensorSpec>> fill(List<TensorSpec> tensors, long maxBytes) {
    List<List<TensorSpec>> files = new ArrayList<>();
    List<TensorSpec> current = new ArrayList<>();
    long bytes = 0;
    for (TensorSpec tensor : tensors) {
      if (!current.isEmpty() && tensor.bytes() > maxBytes - bytes) {
        files.add(current);
        current = new ArrayList<>();
        bytes = 0;
      }
      current.add(tensor);
      bytes += tensor.bytes();
    }
    files.add(current);
    requireFew(files.size(), maxBytes);
    files.forEach(file -> file.sort(FILE_ORDER));
    return files;
  }

  /**
   * @throws CheckpointException if these are too many files for a checkpoint
   */
  public static void requireFew(int files, long maxBytes) {
    if (files > Checkpoint.MAX_SHARDS) {
      throw new CheckpointException(
          "shards of at most %d bytes would be %d files, a checkpoint has at most %d"
              .formatted(maxBytes, files, Checkpoint.MAX_SHARDS));
    }
  }

  private static List<ShardLayout> numbered(
      String name, @Nullable ExpertRank rank, List<List<TensorSpec>> files) {
    List<ShardLayout> shards = new ArrayList<>();
    for (List<TensorSpec> file : files) {
      String fileName =
          "%s-%05d-of-%05d.safetensors".formatted(name, shards.size() + 1, files.size());
      ShardOffsets offsets = rank == null ? ShardOffsets.NONE : ShardOffsets.of(rank, file);
      shards.add(of(fileName, rank, offsets, file, offsets.metadata()));
    }
    return shards;
  }

  public String fileName() {
    return fileName;
  }

  /** Whose experts are in it; null: nobody's, all ranks read it. */
  public @Nullable ExpertRank rank() {
    return rank;
  }

  /** A tensor's name, which tells a rank's share from those of the others. */
  public String qualify(TensorInfo tensor) {
    return offsets.qualify(tensor);
  }

  /** What goes before the data: the header's length and the header. */
  public ByteBuffer head() {
    return head.asReadOnlyBuffer();
  }

  /** In the order of their data. */
  public List<TensorInfo> tensors() {
    return tensors;
  }

  /** Of the whole file. */
  public long fileBytes() {
    return tensors.isEmpty()
        ? head.limit()
        : tensors.getLast().offset() + tensors.getLast().bytes();
  }

  /** JSON, padded with spaces so that what follows it and its length is aligned to 8 bytes. */
  private static byte[] header(
      String fileName, List<TensorSpec> tensors, Map<String, String> metadata) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (JsonGenerator json = JSON.createGenerator(ObjectWriteContext.empty(), out)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectPropertyStart("__metadata__");
        metadata.forEach(json::writeStringProperty);
        json.writeEndObject();
      }
      Set<String> names = new HashSet<>(Set.of("__metadata__"));
      long begin = 0;
      for (TensorSpec tensor : tensors) {
        if (!names.add(tensor.name())) {
          throw new CheckpointException(
              "%s: tensor name %s is taken".formatted(fileName, quote(tensor.name())));
        }
        long end = begin + tensor.bytes();
        writeEntry(json, tensor, begin, end);
        begin = end;
      }
      json.writeEndObject();
    }
    while (out.size() % 8 != 0) {
      out.write(' ');
    }
    if (out.size() > SafetensorsHeader.MAX_HEADER_BYTES) {
      throw new CheckpointException(
          "%s: a header of %d bytes, the format allows %d"
              .formatted(fileName, out.size(), SafetensorsHeader.MAX_HEADER_BYTES));
    }
    return out.toByteArray();
  }

  private static void writeEntry(JsonGenerator json, TensorSpec tensor, long begin, long end) {
    json.writeObjectPropertyStart(tensor.name());
    json.writeStringProperty("dtype", tensor.dtype().name());
    json.writeArrayPropertyStart("shape");
    for (int axis = 0; axis < tensor.shape().rank(); axis++) {
      json.writeNumber(tensor.shape().dim(axis));
    }
    json.writeEndArray();
    json.writeArrayPropertyStart("data_offsets");
    json.writeNumber(begin);
    json.writeNumber(end);
    json.writeEndArray();
    json.writeEndObject();
  }

  /** Bits, and a little more for BF16, which Hugging Face's writer puts before F16. */
  private static int width(DType dtype) {
    return 8 * dtype.bytes() + (dtype == DType.BF16 ? 1 : 0);
  }
}
