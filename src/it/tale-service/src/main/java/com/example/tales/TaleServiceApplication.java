package com.example.tales;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.web.server.ServerHttpSecurity;
import org.springframework.security.web.server.SecurityWebFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** Serves the model beside a route of its own, under its own rules. */
@SpringBootApplication
@RestController
public class TaleServiceApplication {

  public static void main(String[] args) {
    SpringApplication.run(TaleServiceApplication.class, args);
  }

  @GetMapping("/motto")
  String motto() {
    return "Once upon a time";
  }

  @Bean
  SecurityWebFilterChain security(ServerHttpSecurity http) {
    return http.csrf(ServerHttpSecurity.CsrfSpec::disable)
        .httpBasic(Customizer.withDefaults())
        .authorizeExchange(
            routes -> routes.pathMatchers("/v1/**").authenticated().anyExchange().permitAll())
        .build();
  }
}
