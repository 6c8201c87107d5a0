package dev.gregale;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** The server. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class GregaleApplication {

  public static void main(String[] args) {
    SpringApplication.run(GregaleApplication.class, args);
  }
}
