package com.example.storyteller;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** Prints a story that begins as its arguments say. */
@SpringBootApplication
public class StorytellerApplication {

  public static void main(String[] args) {
    try (var context = SpringApplication.run(StorytellerApplication.class, args)) {
      System.out.println(context.getBean(Storyteller.class).tell(String.join(" ", args)));
    }
  }
}
