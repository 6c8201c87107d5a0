package dev.gregale.tokenizer;

import com.hubspot.jinjava.interpret.Context;
import com.hubspot.jinjava.interpret.InterpretException;
import com.hubspot.jinjava.interpret.JinjavaInterpreter;
import com.hubspot.jinjava.interpret.JinjavaInterpreter.InterpreterScopeClosable;
import com.hubspot.jinjava.lib.tag.ElseTag;
import com.hubspot.jinjava.lib.tag.ForTag;
import com.hubspot.jinjava.lib.tag.Tag;
import com.hubspot.jinjava.tree.Node;
import com.hubspot.jinjava.tree.TagNode;
import com.hubspot.jinjava.util.ForLoop;
import com.hubspot.jinjava.util.LengthLimitingStringBuilder;
import com.hubspot.jinjava.util.ObjectIterator;
import com.hubspot.jinjava.util.ObjectTruthValue;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The for loop as Jinja2 has it, where jinjava's differs without a word: {@code for ... if} filters
 * the items, {@code else} is for no items at all, and what an iteration sets ends with it.
 */
final class TemplateForTag implements Tag {

  @Override
  public String getName() {
    return ForTag.TAG_NAME;
  }

  @Override
  public String interpret(TagNode tag, JinjavaInterpreter interpreter) {
    TemplateSyntax.ForHead head = TemplateSyntax.forHead(tag.getHelpers());
    List<@Nullable Object> items = items(head, tag, interpreter);
    int elseIndex = elseIndex(tag);
    List<Node> body = tag.getChildren().subList(0, elseIndex);
    var out = new LengthLimitingStringBuilder(interpreter.getConfig().getMaxOutputSize());
    if (items.isEmpty()) {
      tag.getChildren()
          .listIterator(elseIndex)
          .forEachRemaining(n -> out.append(n.render(interpreter)));
      return out.toString();
    }
    ForLoop loop = new ForLoop(items.iterator(), items.size());
    while (loop.hasNext()) {
      tag.preProcess(interpreter); // an empty body must count against the limits too
      try (InterpreterScopeClosable _ = interpreter.enterScope()) {
        interpreter.getContext().put(ForTag.LOOP, loop);
        assign(head.variables(), loop.next(), interpreter);
        for (Node node : body) {
          out.append(node.render(interpreter));
          if (loop.isContinued()) {
            break;
          }
        }
      }
    }
    return out.toString();
  }

  private static List<@Nullable Object> items(
      TemplateSyntax.ForHead head, TagNode tag, JinjavaInterpreter interpreter) {
    Object iterable = interpreter.resolveELExpression(head.iterable(), tag.getLineNumber());
    List<@Nullable Object> items = new ArrayList<>();
    ObjectIterator.getLoop(iterable).forEachRemaining(items::add);
    String condition = head.condition();
    if (condition != null) {
      items.removeIf(
          item -> {
            tag.preProcess(interpreter);
            try (InterpreterScopeClosable _ = interpreter.enterScope()) {
              assign(head.variables(), item, interpreter);
              Object met = interpreter.resolveELExpression(condition, tag.getLineNumber());
              return !ObjectTruthValue.evaluate(met);
            }
          });
    }
    return items;
  }

  /** Index of the loop's own else among its children, or their number. */
  private static int elseIndex(TagNode tag) {
    int index = 0;
    for (Node child : tag.getChildren()) {
      if (child instanceof TagNode inner && inner.getName().equals(ElseTag.TAG_NAME)) {
        return index;
      }
      index++;
    }
    return index;
  }

  private static void assign(
      List<String> variables, @Nullable Object item, JinjavaInterpreter interpreter) {
    Context context = interpreter.getContext();
    if (variables.size() == 1) {
      context.put(variables.getFirst(), interpreter.wrap(item));
      return;
    }
    List<?> parts =
        switch (item) {
          case Map.Entry<?, ?> entry -> List.of(entry.getKey(), entry.getValue());
          case List<?> list -> list;
          case null, default -> List.of();
        };
    if (parts.size() != variables.size()) {
      throw new InterpretException(
          "a for loop unpacks %d values into %s".formatted(parts.size(), variables));
    }
    for (int i = 0; i < parts.size(); i++) {
      context.put(variables.get(i), interpreter.wrap(parts.get(i)));
    }
  }
}
