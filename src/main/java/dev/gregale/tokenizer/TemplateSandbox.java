package dev.gregale.tokenizer;

import com.hubspot.jinjava.el.TypeConvertingMapELResolver;
import com.hubspot.jinjava.el.ext.JinjavaBeanELResolver;
import com.hubspot.jinjava.el.ext.JinjavaListELResolver;
import com.hubspot.jinjava.lib.exptest.ExpTest;
import com.hubspot.jinjava.lib.filter.Filter;
import com.hubspot.jinjava.objects.collections.PyList;
import com.hubspot.jinjava.objects.collections.PyMap;
import com.hubspot.jinjava.util.ForLoop;
import java.beans.FeatureDescriptor;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import jinjava.javax.el.ELContext;
import jinjava.javax.el.ELResolver;
import jinjava.javax.el.MethodNotFoundException;
import org.jspecify.annotations.Nullable;

/**
 * All that a chat template may reach: entries of maps and lists, the {@code loop} variable, filters
 * and tests, and the named methods of strings, lists and maps. Everything else reads as undefined:
 * no bean properties, no Java methods, no writing. As in Jinja2's immutable sandbox, a template
 * cannot change what it is given.
 */
final class TemplateSandbox extends ELResolver {

  private static final Set<String> LOOP_PROPERTIES =
      Set.of(
          "index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0");
  private static final Set<String> LIST_METHODS = Set.of("count", "index", "copy");
  private static final Set<String> MAP_METHODS = Set.of("items", "keys", "values", "get");

  private final ELResolver lists = new JinjavaListELResolver(true);
  private final ELResolver maps = new TypeConvertingMapELResolver(true);
  private final ELResolver beans = new JinjavaBeanELResolver(true);
  private final PythonStrings strings;

  TemplateSandbox(PythonStrings strings) {
    this.strings = strings;
  }

  @Override
  public @Nullable Object getValue(ELContext context, @Nullable Object base, Object property) {
    if (base instanceof List) {
      return lists.getValue(context, base, property);
    }
    if (base instanceof Map) {
      return maps.getValue(context, base, property);
    }
    if (base instanceof ForLoop && LOOP_PROPERTIES.contains(String.valueOf(property))) {
      return beans.getValue(context, base, property);
    }
    context.setPropertyResolved(true);
    return null;
  }

  @Override
  public @Nullable Object invoke(
      ELContext context,
      Object base,
      Object method,
      Class<?> @Nullable [] types,
      @Nullable Object @Nullable [] arguments) {
    String name = String.valueOf(method);
    if (base instanceof String self) {
      Object result = strings.call(self, name, arguments == null ? new Object[0] : arguments);
      context.setPropertyResolved(true);
      return result;
    }
    boolean allowed =
        switch (base) {
          case Filter _ -> name.equals("filter");
          case ExpTest _ -> name.equals("evaluate") || name.equals("evaluateNegated");
          case PyList _ -> LIST_METHODS.contains(name);
          case PyMap _ -> MAP_METHODS.contains(name);
          default -> false;
        };
    if (!allowed) {
      throw new MethodNotFoundException("'" + name + "' is not among what chat templates may call");
    }
    return beans.invoke(context, base, method, types, arguments);
  }

  @Override
  public @Nullable Class<?> getType(ELContext context, Object base, Object property) {
    return null;
  }

  @Override
  public boolean isReadOnly(ELContext context, Object base, Object property) {
    return true;
  }

  @Override
  public void setValue(ELContext context, Object base, Object property, Object value) {
    throw new UnsupportedOperationException("chat templates cannot change what they are given");
  }

  @Override
  public @Nullable Iterator<FeatureDescriptor> getFeatureDescriptors(
      ELContext context, Object base) {
    return null;
  }

  @Override
  public @Nullable Class<?> getCommonPropertyType(ELContext context, Object base) {
    return null;
  }
}
