package dev.gregale.config;

import dev.gregale.web.ApiProperties;
import io.netty.handler.timeout.WriteTimeoutHandler;
import java.util.concurrent.TimeUnit;
import org.springframework.boot.reactor.netty.NettyReactiveWebServerFactory;
import org.springframework.boot.web.server.WebServerFactoryCustomizer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import reactor.netty.http.HttpProtocol;

/** What Reactor Netty has no properties for. */
@Configuration(proxyBeanMethods = false)
public class WebServerConfiguration {

  /**
   * HTTP/1.1 alone: with h2c on, the JDK's HttpClient offers an upgrade with its first POST, which
   * Netty answers with 413. A client that sends or takes nothing for too long is dropped, which
   * aborts what it asked for.
   */
  @Bean
  WebServerFactoryCustomizer<NettyReactiveWebServerFactory> httpServer(ApiProperties properties) {
    long writeTimeoutMillis = properties.writeTimeout().toMillis();
    return factory ->
        factory.addServerCustomizers(
            server ->
                server
                    .protocol(HttpProtocol.HTTP11)
                    .readTimeout(properties.readTimeout())
                    .requestTimeout(properties.requestTimeout())
                    .doOnChannelInit(
                        (observer, channel, address) ->
                            channel
                                .pipeline()
                                .addFirst(
                                    new WriteTimeoutHandler(
                                        writeTimeoutMillis, TimeUnit.MILLISECONDS))));
  }
}
