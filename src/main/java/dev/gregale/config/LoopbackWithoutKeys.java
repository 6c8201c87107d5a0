package dev.gregale.config;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.HashMap;
import java.util.Map;
import org.apache.commons.logging.Log;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.EnvironmentPostProcessor;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.boot.logging.DeferredLogFactory;
import org.springframework.core.Ordered;
import org.springframework.core.env.ConfigurableEnvironment;
import org.springframework.core.env.MapPropertySource;

/**
 * As long as there are no keys, everyone who reaches the server may use it, so it listens on
 * loopback, whatever address is configured.
 */
final class LoopbackWithoutKeys implements EnvironmentPostProcessor, Ordered {
  private static final String LOOPBACK = "127.0.0.1";
  private final Log log;

  LoopbackWithoutKeys(DeferredLogFactory logs) {
    log = logs.getLog(LoopbackWithoutKeys.class);
  }

  @Override
  public void postProcessEnvironment(
      ConfigurableEnvironment environment, SpringApplication application) {
    Binder binder = Binder.get(environment);
    boolean keys = binder.bind("gregale.api.keys[0].sha256", String.class).isBound();
    boolean anonymous = environment.getProperty("gregale.api.allow-anonymous", "").equals("true");
    boolean server = environment.containsProperty("gregale.api.max-request-size");
    if (keys || !server) {
      return; // guarded, or some other application that has this one on its class path
    }
    if (anonymous) {
      log.warn("gregale.api.allow-anonymous: whoever reaches this server may use its model");
      return;
    }
    Map<String, Object> forced = new HashMap<>();
    force("server.address", environment, forced);
    if (hasManagementPort(environment)) {
      force("management.server.address", environment, forced);
    }
    environment.getPropertySources().addFirst(new MapPropertySource("loopback", forced));
    log.info("There are no API keys (gregale.api.keys): listening on loopback only, for everyone");
  }

  private void force(
      String property, ConfigurableEnvironment environment, Map<String, Object> forced) {
    String configured = environment.getProperty(property);
    if (!isLoopback(configured)) {
      forced.put(property, LOOPBACK);
      if (configured != null) {
        log.warn(
            "%s=%s is not used, because there are no API keys: make one with `gregale keygen`, or"
                    .formatted(property, configured)
                + " set gregale.api.allow-anonymous=true if something else decides who gets in");
      }
    }
  }

  private static boolean isLoopback(@Nullable String address) {
    try {
      return address != null
          && !address.isBlank()
          && InetAddress.getByName(address).isLoopbackAddress();
    } catch (UnknownHostException e) {
      return false;
    }
  }

  /** A port of its own has an address of its own. */
  private static boolean hasManagementPort(ConfigurableEnvironment environment) {
    String port = environment.getProperty("management.server.port");
    return port != null
        && !port.isBlank()
        && (port.equals("0") || !port.equals(environment.getProperty("server.port", "8080")));
  }

  /** After the configuration files are read. */
  @Override
  public int getOrder() {
    return Ordered.LOWEST_PRECEDENCE;
  }
}
