from itertools import combinations

import cv2
import numpy as np
import pytest

from galmorph.data.duplicates import ORIENTATIONS, candidates, correlation, groups, perceptual_hash, texture, turned

SIDE = 300
YY, XX = np.mgrid[0:SIDE, 0:SIDE].astype(float)
DISTANCE, PROOF = 10, 0.5  # as params.yaml has them


def galaxy(seed, n=4.0, radius=25.0, axis_ratio=0.8, angle=20.0, noise=14.0, neighbours=0):
    """A smooth Sérsic galaxy; the seed makes the noise and the neighbours, not the galaxy."""
    rng = np.random.default_rng(seed)
    theta = np.radians(angle)
    dx, dy = XX - 149.3, YY - 150.4
    along, across = dx * np.cos(theta) + dy * np.sin(theta), -dx * np.sin(theta) + dy * np.cos(theta)
    r = np.hypot(along, across / axis_ratio) + 1
    light = 20 * np.exp(-(2 * n - 1 / 3) * ((r / radius) ** (1 / n) - 1))
    for _ in range(neighbours):
        x, y = rng.uniform(20, 280, 2)
        light = light + 90 * np.exp(-((XX - x) ** 2 + (YY - y) ** 2) / (2 * rng.uniform(1.5, 4) ** 2))
    channels = [light * colour + 30 + rng.normal(0, noise, light.shape) for colour in (1.0, 0.8, 0.6)]
    return np.clip(np.stack([cv2.GaussianBlur(c, (0, 0), 1.0) for c in channels], -1), 0, 255).round().astype(np.uint8)


def as_jpeg(image, quality=75):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def moved(image, right, down):
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def brightened(image, gain=1.1, offset=3):
    return np.clip(image * gain + offset, 0, 255).round().astype(np.uint8)


COPIES = {
    "itself": lambda image: image,
    "as JPEG": as_jpeg,
    "as poor JPEG": lambda image: as_jpeg(image, 50),
    "shifted": lambda image: moved(image, 5, -3),
    "shifted by part of a pixel": lambda image: moved(image, 2.5, -1.3),
    "brightened": brightened,
    "resized": lambda image: cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA),
    "all at once": lambda image: as_jpeg(brightened(moved(image, 4, 3)), 80),
    "a channel blank": lambda image: image * np.array([1, 1, 0], np.uint8),
}


def proven(first, second):
    """The correlation of two images, 0 when their hashes do not even make them candidates."""
    pairs = candidates([perceptual_hash(first), perceptual_hash(second)], DISTANCE)
    return max((correlation(texture(first), texture(turned(second, pair.orientation))) for pair in pairs), default=0)


@pytest.mark.parametrize("neighbours", [0, 6])
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_proven(copy, neighbours):
    for seed in range(3):
        original = galaxy(seed, neighbours=neighbours)
        assert correlation(texture(original), texture(COPIES[copy](original))) >= PROOF + 0.1


@pytest.mark.parametrize("neighbours", [0, 6])
@pytest.mark.parametrize("copy", [name for name in COPIES if name not in ("as poor JPEG", "a channel blank")])
def test_a_copy_is_a_candidate_and_found(copy, neighbours):
    for seed in range(3):
        original = galaxy(seed, neighbours=neighbours)
        assert proven(original, COPIES[copy](original)) >= PROOF


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_or_mirrored_copy_is_found(orientation):
    original = galaxy(11, neighbours=4)
    assert proven(original, as_jpeg(np.ascontiguousarray(turned(original, orientation)), 85)) >= PROOF


@pytest.mark.parametrize("spoil", [lambda image: image, as_jpeg, lambda image: as_jpeg(image, 50)])
def test_the_same_smooth_galaxy_under_other_noise_is_no_copy(spoil):
    images = [spoil(galaxy(seed)) for seed in range(5)]
    textures = [texture(image) for image in images]
    assert max(correlation(a, b) for a, b in combinations(textures, 2)) < PROOF / 1.5


def test_round_bright_galaxies_are_no_copies_of_each_other():
    images = [galaxy(seed, n=n, axis_ratio=1.0, noise=1.5) for seed, n in enumerate((1, 2, 4, 4))]
    assert max(proven(a, b) for a, b in combinations(images, 2)) < PROOF


def test_edge_on_galaxies_alike_are_no_copies():
    images = [galaxy(seed, n=1, axis_ratio=0.2, radius=40, noise=2, neighbours=3) for seed in range(4)]
    assert max(correlation(texture(a), texture(b)) for a, b in combinations(images, 2)) < PROOF


def test_without_noise_nothing_is_proven():
    drawn = galaxy(0, noise=0.0)
    assert perceptual_hash(drawn) == ""
    assert texture(drawn) is None
    assert correlation(texture(drawn), texture(galaxy(1))) == 0.0
    assert correlation(None, None) == 0.0


@pytest.mark.parametrize("size", [(300, 300), (1, 1), (32, 40)])
def test_a_blank_image_has_no_hash(size):
    assert perceptual_hash(np.full((*size, 3), 40, np.uint8)) == ""


def test_a_hash_is_16_hexadecimal_digits_and_repeatable():
    image = galaxy(5)
    found = perceptual_hash(image)
    assert len(found) == 16
    assert int(found, 16) >= 0
    assert perceptual_hash(image.copy()) == found


def test_turned_lays_a_frame_on_itself_in_eight_ways():
    image = np.arange(12).reshape(2, 2, 3)
    assert len({turned(image, orientation).tobytes() for orientation in ORIENTATIONS}) == 8
    assert turned(np.zeros((3, 5, 3)), 4).shape == (5, 3, 3)


def brute_force(hashes, distance):
    apart = {}
    for a, b in combinations(range(len(hashes)), 2):
        if hashes[a] and hashes[b]:
            apart[a, b] = (int(hashes[a], 16) ^ int(hashes[b], 16)).bit_count()
    return {pair for pair, bits in apart.items() if bits <= distance}


def test_candidates_are_all_pairs_within_the_distance():
    rng = np.random.default_rng(2)
    hashes = [f"{value:016x}" for value in rng.integers(0, 2**63, 60).tolist()]
    hashes += [f"{int(hashes[k], 16) ^ (0b1011 << k):016x}" for k in range(20)]
    hashes[7] = ""
    found = {(pair.first, pair.second) for pair in candidates(hashes, 3) if pair.orientation == 0}
    assert found == brute_force(hashes, 3)
    assert len(found) == 19


def test_candidates_cross_the_blocks(monkeypatch):
    rng = np.random.default_rng(4)
    hashes = [f"{value:016x}" for value in rng.integers(0, 2**63, 25).tolist()] * 2
    whole = candidates(hashes, 8)
    monkeypatch.setattr("galmorph.data.duplicates._BLOCK", 7)
    assert candidates(hashes, 8) == whole
    assert {(k, k + 25) for k in range(25)} <= {(pair.first, pair.second) for pair in whole}
    assert whole == sorted(whole, key=lambda pair: (pair.first, pair.second))


@pytest.mark.parametrize("hashes", [[], ["00ff00ff00ff00ff"], ["", ""], ["00ff00ff00ff00ff", ""]])
def test_too_few_hashes_make_no_pair(hashes):
    assert candidates(hashes, 64) == []


def test_groups_join_chains_under_the_smallest_id():
    cataids = ["30", "10", "20", "40", "05"]
    assert groups(cataids, [(0, 2), (2, 1)]) == ["10", "10", "10", "40", "05"]
    assert groups(cataids, []) == cataids
    assert groups(cataids, [(3, 4), (0, 1), (1, 3)]) == ["05", "05", "20", "05", "05"]


def test_groups_do_not_depend_on_the_order_of_the_pairs():
    rng = np.random.default_rng(0)
    cataids = [str(k) for k in rng.permutation(40)]
    pairs = [tuple(pair) for pair in rng.integers(0, 40, (25, 2))]
    expected = groups(cataids, pairs)
    for seed in range(5):
        shuffled = [pairs[k] for k in np.random.default_rng(seed).permutation(len(pairs))]
        assert groups(cataids, shuffled) == expected
