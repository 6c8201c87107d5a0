package dev.gregale.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CancellationException;
import org.junit.jupiter.api.Test;

/** Names from outside lead into the roots or nowhere. */
class ConversionRootsTest extends RootsFixture {
  @Test
  void goodNamesComeOutWithoutLinks() throws IOException {
    ConversionRoots roots = roots();
    Path model = root.toRealPath().resolve("sub/model");
    assertThat(roots.source("sub/model")).isEqualTo(model);
    assertThat(roots.source("alias")).isEqualTo(model);
    assertThat(roots.source(root.toRealPath() + "/sub/model")).isEqualTo(model);
    assertThat(roots.source("up/root/sub/model")).isEqualTo(model); // out and back in
    assertThat(roots.target("new")).isEqualTo(root.toRealPath().resolve("new"));
    assertThat(roots.target("alias/new_1.2")).isEqualTo(model.resolve("new_1.2"));
    assertThat(roots.target("sub/model")).isEqualTo(model);
  }

  @Test
  void severalRootsAreTriedInOrder() throws IOException {
    Path second = Files.createDirectories(folder.resolve("second/only"));
    ConversionRoots both = ConversionRoots.of(List.of(root, folder.resolve("second")));
    assertThat(both.source("only")).isEqualTo(second.toRealPath());
    assertThat(both.target("only/new")).isEqualTo(second.toRealPath().resolve("new"));
    assertThat(both.target("new")).isEqualTo(root.toRealPath().resolve("new"));
    assertThatThrownBy(() -> both.source("neither")).isInstanceOf(NoSuchFileException.class);
  }

  /** A link within a model directory is as good as a name. */
  @Test
  void filesOfASourceMustNotLeadOut() throws IOException {
    Path model = Files.createDirectory(root.resolve("linked"));
    Files.createSymbolicLink(model.resolve("config.json"), secret.resolve("config.json"));
    assertThatThrownBy(() -> roots().source("linked"))
        .isInstanceOf(RootException.class)
        .hasMessage("'linked' leads out of the directories of gregale.convert.roots");
  }

  /** A link that someone puts where the conversion is going to write. */
  @Test
  void aPlantedLinkIsNotWrittenThrough() throws IOException {
    Path partial = Files.createDirectory(root.resolve(".te.partial"));
    Path victim = Files.writeString(secret.resolve("victim"), "untouched");
    ConversionRequest request = ConversionRequest.of(Models.ODD0.resolve("hf"), root.resolve("te"));
    Files.createSymbolicLink(partial.resolve(Journal.FILE_NAME), victim);
    assertThatThrownBy(() -> Models.convert(request)).isInstanceOf(IOException.class);
    Models.remove(partial);
    assertThatThrownBy(
            () ->
                new CheckpointConverter(Channels.SYSTEM, 1, null)
                    .convert(
                        request,
                        progress -> {
                          throw new CancellationException();
                        }))
        .isInstanceOf(CancellationException.class);
    Path weights = partial.resolve("model.safetensors");
    Files.delete(weights);
    Files.createSymbolicLink(weights, victim);
    assertThatThrownBy(() -> Models.convert(request)).isInstanceOf(IOException.class);
    assertThat(victim).hasContent("untouched");
    assertThat(root.resolve("te")).doesNotExist();
    Models.remove(partial);
    Files.createSymbolicLink(partial, secret);
    assertThatThrownBy(() -> Models.convert(request))
        .isInstanceOf(TargetException.class)
        .hasMessageContaining("in the way");
  }

  @Test
  void aRootMustBeADirectory() {
    assertThatThrownBy(() -> ConversionRoots.of(List.of(folder.resolve("none"))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("there is no directory");
    assertThatThrownBy(() -> ConversionRoots.of(List.of(secret.resolve("config.json"))))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> ConversionRoots.of(List.of(Path.of("/"))))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
