package dev.gregale.convert;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** SHA-256, in lower-case hexadecimal digits. */
final class Sha256 {
  private final MessageDigest digest;

  Sha256() {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  void update(byte[] bytes, int count) {
    digest.update(bytes, 0, count);
  }

  /** The digest of what came since the last call. */
  String hex() {
    return HexFormat.of().formatHex(digest.digest());
  }

  static String of(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    Sha256 sha = new Sha256();
    sha.update(bytes, bytes.length);
    return sha.hex();
  }

  static String of(Path file) throws IOException {
    Sha256 sha = new Sha256();
    byte[] buffer = new byte[1 << 16];
    try (InputStream in = Files.newInputStream(file)) {
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        sha.update(buffer, count);
      }
    }
    return sha.hex();
  }
}
