package dev.gregale.backend.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The kernel images that the build packed under {@code /kernels}, named by its {@code index.txt}.
 * Empty in a build without {@code nvcc}.
 */
public record KernelLibrary(List<Image> images) {
  private static final String FOLDER = "/kernels/";
  private static final int FATBIN_MAGIC = 0xBA55ED50;

  /**
   * Machine code of one {@code .cu} file: for several architectures, or under a folder as {@code
   * sm90a} for that one alone.
   *
   * @param file as in {@code rms_norm.fatbin}
   * @param bytes what the driver's cuModuleLoadFatBinary takes
   */
  public record Image(String file, byte[] bytes) {

    /** Whether it holds instructions of one architecture that others do not have. */
    public boolean isArchitectureSpecific() {
      return file.contains("/");
    }

    /** Whether it may run on a GPU of that compute capability. */
    public boolean runsOn(int major, int minor) {
      return !isArchitectureSpecific() || file.startsWith("sm%d%da/".formatted(major, minor));
    }

    /** The source's name, as in {@code rms_norm}. */
    public String source() {
      return file.substring(file.indexOf('/') + 1).replace(".fatbin", "");
    }
  }

  public KernelLibrary {
    images = List.copyOf(images);
  }

  /**
   * @throws CudaUnavailableException if an image that the index names is missing or is no fatbin
   */
  public static KernelLibrary fromClassPath() {
    List<Image> images = new ArrayList<>();
    byte[] index = resource("index.txt");
    for (String file : new String(index, StandardCharsets.UTF_8).lines().toList()) {
      byte[] bytes = resource(file);
      if (bytes.length < 4
          || ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getInt() != FATBIN_MAGIC) {
        throw new CudaUnavailableException(
            "the kernel image %s%s is missing or damaged".formatted(FOLDER, file), "build again");
      }
      images.add(new Image(file, bytes));
    }
    return new KernelLibrary(images);
  }

  /** The resource's bytes, none if it does not exist. */
  private static byte[] resource(String file) {
    try (InputStream in = KernelLibrary.class.getResourceAsStream(FOLDER + file)) {
      return in == null ? new byte[0] : in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + FOLDER + file, e);
    }
  }
}
