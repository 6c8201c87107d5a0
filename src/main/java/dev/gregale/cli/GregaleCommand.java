package dev.gregale.cli;

import dev.gregale.config.ExitCode;
import dev.gregale.convert.WeightRecipe;
import dev.gregale.quantization.Quantization;
import dev.gregale.tensor.InputScaling.When;
import java.io.PrintWriter;
import org.springframework.boot.logging.LoggingInitializationContext;
import org.springframework.boot.logging.LoggingSystem;
import org.springframework.core.env.StandardEnvironment;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The words that the program knows, beside {@code serve}, which is the server itself. */
@Command(
    name = "gregale",
    mixinStandardHelpOptions = true,
    description = {
      "Serves Mixtral-style Mixture-of-Experts models.",
      "",
      "  serve   the server; also what no word means. Takes properties: --gregale.model.path=DIR"
    },
    subcommands = {
      ConvertCommand.class,
      InspectCommand.class,
      BenchCommand.class,
      DoctorCommand.class,
      KeygenCommand.class
    })
public final class GregaleCommand {

  /** Runs a command. Progress goes to standard error, the result to standard output. */
  public static int execute(String[] args) {
    logToStandardError();
    return commandLine().execute(args);
  }

  static CommandLine commandLine() {
    return new CommandLine(new GregaleCommand())
        .setCaseInsensitiveEnumValuesAllowed(true)
        .registerConverter(Quantization.class, new Hyphenated<>(Quantization.class))
        .registerConverter(WeightRecipe.class, new Hyphenated<>(WeightRecipe.class))
        .registerConverter(When.class, new Hyphenated<>(When.class))
        .setExecutionExceptionHandler(GregaleCommand::report)
        .setParameterExceptionHandler(GregaleCommand::usage);
  }

  private static void logToStandardError() {
    LoggingSystem logging = LoggingSystem.get(GregaleCommand.class.getClassLoader());
    logging.beforeInitialize();
    logging.initialize(
        new LoggingInitializationContext(new StandardEnvironment()),
        "classpath:logback-cli.xml",
        null);
  }

  private static int report(Exception e, CommandLine command, CommandLine.ParseResult parsed)
      throws Exception {
    ExitCode code = ExitCode.of(e);
    if (code == ExitCode.SOFTWARE) {
      throw e;
    }
    command.getErr().println("gregale: " + e.getMessage());
    return code.code();
  }

  private static int usage(CommandLine.ParameterException e, String[] args) {
    PrintWriter err = e.getCommandLine().getErr();
    err.println("gregale: " + e.getMessage());
    e.getCommandLine().usage(err);
    return ExitCode.USAGE.code();
  }
}
