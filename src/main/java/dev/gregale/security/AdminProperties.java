package dev.gregale.security;

import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Who may run the server.
 *
 * @param keys Keys that open the admin routes and the actuator beside everything else. Without any,
 *     and without API keys, those routes are open on loopback; without any, but with API keys or
 *     beyond loopback, they are closed.
 * @param publicMetrics Serve the Prometheus metrics without a key, for scrapers that send none.
 */
@ConfigurationProperties("gregale.admin")
public record AdminProperties(
    @DefaultValue List<KeyProperties> keys, @DefaultValue("false") boolean publicMetrics) {}
