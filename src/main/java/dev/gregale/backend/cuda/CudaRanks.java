package dev.gregale.backend.cuda;

import dev.gregale.backend.Collective;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Several GPUs of one host that run one model together.
 *
 * @param backends one per rank, in order
 * @param collective what they do together
 */
public record CudaRanks(List<CudaBackend> backends, Collective collective) {
  private static final Logger log = LoggerFactory.getLogger(CudaRanks.class);
  private static final Duration TIMEOUT = Duration.ofSeconds(10); // first launches load code
  private static final Duration HOST_TIMEOUT = Duration.ofSeconds(60);

  public CudaRanks {
    backends = List.copyOf(backends);
  }

  /**
   * Opens the GPUs and finds out how they reach each other.
   *
   * @param ordinals as in nvidia-smi, after CUDA_VISIBLE_DEVICES; one may stand there twice, which
   *     is of use for tests alone
   * @param nccl NCCL's library, for long messages; null: only where there is no other way
   * @throws CudaUnavailableException if that is impossible here, with the reason and what to do
   */
  public static CudaRanks open(
      List<Integer> ordinals, boolean deterministic, @Nullable String nccl) {
    return open(ordinals, deterministic, nccl, TIMEOUT, HOST_TIMEOUT);
  }

  /**
   * @param timeout of a rank's waits for others
   * @param hostTimeout of the host's for the ranks
   */
  static CudaRanks open(
      List<Integer> ordinals,
      boolean deterministic,
      @Nullable String nccl,
      Duration timeout,
      Duration hostTimeout) {
    if (ordinals.size() > CudaCollective.MAX_RANKS) {
      throw new CudaUnavailableException(
          "%d GPUs for one model".formatted(ordinals.size()),
          "take %d at most".formatted(CudaCollective.MAX_RANKS));
    }
    List<CudaBackend> backends = new ArrayList<>();
    CudaContext.Dependence all = new CudaContext.Dependence(hostTimeout, new AtomicBoolean());
    try {
      for (int ordinal : ordinals) {
        CudaBackend backend = CudaBackend.open(ordinal, deterministic);
        backend.asRank().context().depend(all);
        backends.add(backend);
      }
      return new CudaRanks(backends, collective(ordinals, backends, nccl, timeout));
    } catch (RuntimeException e) {
      backends.forEach(CudaBackend::close);
      throw e;
    }
  }

  private static Collective collective(
      List<Integer> ordinals,
      List<CudaBackend> backends,
      @Nullable String library,
      Duration timeout) {
    boolean reachable = connect(ordinals, backends);
    boolean distinct = new HashSet<>(ordinals).size() == ordinals.size();
    Nccl nccl = null;
    if (library != null || !reachable) {
      if (!distinct) {
        throw new CudaUnavailableException(
            "NCCL does not run two ranks on one GPU", "name each GPU once, or leave NCCL out");
      }
      nccl = Nccl.open(library == null ? Nccl.LIBRARY : library, ordinals);
    }
    log.info(
        "{} ranks on GPUs {}: {}{}",
        backends.size(),
        ordinals,
        reachable ? "sums through each other's memory" : "no access to each other's memory",
        nccl == null ? "" : reachable ? ", long ones by NCCL" : ", all sums by NCCL");
    return new CudaCollective(backends, reachable, nccl, timeout);
  }

  /** Whether all reach each other's memory; if so, they may from now on. */
  private static boolean connect(List<Integer> ordinals, List<CudaBackend> backends) {
    for (int to = 0; to < backends.size(); to++) {
      for (int from = 0; from < backends.size(); from++) {
        boolean isSame = ordinals.get(to).equals(ordinals.get(from));
        if (!isSame
            && !backends
                .get(to)
                .asRank()
                .context()
                .reaches(backends.get(from).asRank().context())) {
          return false;
        }
      }
    }
    for (int to = 0; to < backends.size(); to++) {
      for (int from = 0; from < backends.size(); from++) {
        if (!ordinals.get(to).equals(ordinals.get(from))) {
          backends.get(to).asRank().context().reach(backends.get(from).asRank().context());
        }
      }
    }
    return true;
  }
}
