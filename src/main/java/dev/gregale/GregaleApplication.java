package dev.gregale;

import dev.gregale.cli.GregaleCommand;
import dev.gregale.cli.Relaunch;
import dev.gregale.config.ExitCode;
import java.util.Arrays;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** The program: the server, and the commands beside it. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class GregaleApplication {

  /** The first word is the command; no word, or a property first, means {@code serve}. */
  public static void main(String[] args) {
    Relaunch.withVectorModule(GregaleApplication.class, args);
    boolean noWord = args.length == 0 || args[0].startsWith("--gregale.") || args[0].contains("=");
    if (noWord) {
      serve(args);
    } else if (args[0].equals("serve")) {
      serve(Arrays.copyOfRange(args, 1, args.length));
    } else {
      System.exit(GregaleCommand.execute(args));
    }
  }

  private static void serve(String[] properties) {
    try {
      SpringApplication.run(GregaleApplication.class, properties);
    } catch (SpringApplication.AbandonedRunException e) {
      throw e; // asked for, as when an AOT cache is recorded
    } catch (RuntimeException e) {
      System.exit(ExitCode.of(e).code()); // what was wrong has been reported
    }
  }
}
