package dev.gregale.cli;

import dev.gregale.security.ApiKeys;
import dev.gregale.security.KeyProperties;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.HexFormat;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
    name = "keygen",
    mixinStandardHelpOptions = true,
    description = "Makes a key, which is shown once, and the configuration that lets it in.")
final class KeygenCommand implements Callable<Integer> {
  private static final int KEY_BYTES = 32;

  @Spec private CommandSpec spec = CommandSpec.create(); // picocli puts its own here

  @Parameters(paramLabel = "NAME", description = "Whose key it is; for logs, metrics and limits.")
  private String name = "";

  @Option(names = "--admin", description = "A key that also opens /admin and the actuator.")
  private boolean admin;

  @Override
  public Integer call() {
    byte[] random = new byte[KEY_BYTES];
    new SecureRandom().nextBytes(random);
    String key = "gk-" + Base64.getUrlEncoder().withoutPadding().encodeToString(random);
    String sha256 = HexFormat.of().formatHex(ApiKeys.sha256(key));
    try {
      new KeyProperties(name, sha256, null, null);
    } catch (IllegalArgumentException e) {
      throw new ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
    }
    String properties = admin ? "gregale.admin.keys" : "gregale.api.keys";
    System.err.println(
        "The key, which cannot be shown again, and the properties of its first use:");
    System.out.println(key);
    System.out.printf("--%s[0].name=%s%n", properties, name);
    System.out.printf("--%s[0].sha256=%s%n", properties, sha256);
    return 0;
  }
}
