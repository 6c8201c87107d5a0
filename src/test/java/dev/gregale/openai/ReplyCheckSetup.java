package dev.gregale.openai;

import java.util.List;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.test.context.ContextConfigurationAttributes;
import org.springframework.test.context.ContextCustomizer;
import org.springframework.test.context.ContextCustomizerFactory;
import org.springframework.test.context.MergedContextConfiguration;
import org.springframework.test.context.TestContext;
import org.springframework.test.context.TestExecutionListener;

/**
 * Puts a {@link ReplyCheck} into the application context of every test and fails the tests that it
 * found something in. Registered in {@code src/test/resources/META-INF/spring.factories}, so no
 * test needs to ask for it, and none can forget to.
 */
public final class ReplyCheckSetup implements ContextCustomizerFactory, TestExecutionListener {
  private static final String BEAN = "replyCheck";

  /** Equal to any other, so that contexts are shared between test classes as ever. */
  private record Customizer() implements ContextCustomizer {
    @Override
    public void customizeContext(
        ConfigurableApplicationContext context, MergedContextConfiguration configuration) {
      ConfigurableListableBeanFactory beans = context.getBeanFactory();
      beans.registerSingleton(BEAN, new ReplyCheck());
    }
  }

  @Override
  public ContextCustomizer createContextCustomizer(
      Class<?> testClass, List<ContextConfigurationAttributes> attributes) {
    return new Customizer();
  }

  @Override
  public void afterTestMethod(TestContext test) {
    if (!test.hasApplicationContext() || !test.getApplicationContext().containsBean(BEAN)) {
      return;
    }
    List<String> violations =
        test.getApplicationContext().getBean(BEAN, ReplyCheck.class).takeViolations();
    if (!violations.isEmpty()) {
      throw new AssertionError(
          "Replies break the contract in src/test/resources/openai:\n"
              + String.join("\n", violations));
    }
  }
}
