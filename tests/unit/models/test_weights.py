"""The weights that a backbone starts from, in every layout, and what is refused."""

import hashlib
import http.server
import inspect
import shutil
import threading
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from galmorph.errors import ModelError
from galmorph.models import weights
from galmorph.models.transfer import resnet50, vgg16

BUILDERS = {"vgg16": vgg16, "resnet50": resnet50}
APPLICATIONS = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}
LAYOUTS = ("notop.h5", "galmorph.keras", "backbone.weights.h5", "backbone.keras", "galmorph.weights.h5", "nested.keras")


@pytest.fixture(scope="module")
def transfer(params):
    return params.train.transfer.model_copy(update={"weights": "none", "dense_units": 4})


def written_as_keras_applications_does(path, model):
    """The layout of the published files, in which Keras 2 wrote names as bytes."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        for group in [file, *file.values()]:
            for name in ("layer_names", "weight_names"):
                if name in group.attrs and len(group.attrs[name]):
                    group.attrs[name] = np.array([text.encode() for text in group.attrs[name]])


@pytest.fixture(scope="module")
def files(tmp_path_factory, transfer):
    """For each architecture: a folder with one set of weights in each layout, and those weights."""
    made = {}
    parent = tmp_path_factory.mktemp("weights")
    for number, (architecture, application) in enumerate(APPLICATIONS.items()):
        folder = parent / architecture
        folder.mkdir()
        keras.utils.set_random_seed(number)
        backbone = application(include_top=False, weights=None, input_shape=(32, 32, 3))
        written_as_keras_applications_does(folder / "notop.h5", backbone)
        whole = BUILDERS[architecture](32, transfer)
        for layer in backbone.layers:
            if layer.weights:
                whole.get_layer(layer.name).set_weights(layer.get_weights())
        whole.save(folder / "galmorph.keras")
        made[architecture] = folder, {layer.name: layer.get_weights() for layer in backbone.layers if layer.weights}
        if architecture == "vgg16":  # ResNet50's files are large, and the layouts the same
            backbone.save_weights(folder / "backbone.weights.h5")
            backbone.save(folder / "backbone.keras")
            whole.save_weights(folder / "galmorph.weights.h5")
            keras.Sequential([keras.Input((32, 32, 3)), backbone, keras.layers.Flatten()]).save(folder / "nested.keras")
    yield made
    shutil.rmtree(parent)  # pytest would keep half a gigabyte for each of the last three runs


def built(architecture, transfer, path, size=32):
    return BUILDERS[architecture](size, transfer.model_copy(update={"weights": str(path)}))


def features(model, images):
    return keras.Model(model.input, model.get_layer("features").output).predict_on_batch(images)


@pytest.mark.parametrize(
    ("architecture", "layout"), [("resnet50", layout) for layout in LAYOUTS[:2]] + [("vgg16", name) for name in LAYOUTS]
)
def test_every_layout_gives_the_backbone_its_weights_exactly(architecture, layout, files, transfer):
    folder, expected = files[architecture]
    model = built(architecture, transfer, folder / layout)
    for name, arrays in expected.items():
        for given, wanted in zip(model.get_layer(name).get_weights(), arrays, strict=True):
            np.testing.assert_array_equal(given, wanted)


def test_the_outputs_are_those_of_the_model_that_was_saved(files, transfer):
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    saved = keras.saving.load_model(files["vgg16"][0] / "galmorph.keras", safe_mode=True)
    loaded = built("vgg16", transfer, files["vgg16"][0] / "notop.h5")
    np.testing.assert_array_equal(features(loaded, images), features(saved, images))
    other = features(built("vgg16", transfer, "none"), images)
    assert np.abs(other - features(saved, images)).max() > 0


def test_weights_serve_images_of_another_size(files, transfer):
    model = built("vgg16", transfer, files["vgg16"][0] / "backbone.keras", size=48)
    np.testing.assert_array_equal(
        model.get_layer("block5_conv3").get_weights()[0], files["vgg16"][1]["block5_conv3"][0]
    )


def test_none_leaves_random_weights_that_the_seed_decides(transfer):
    first, again = [keras.utils.set_random_seed(7) or built("vgg16", transfer, "none") for _ in range(2)]
    np.testing.assert_array_equal(first.get_weights()[0], again.get_weights()[0])
    assert np.std(first.get_weights()[0]) > 0


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_weights_of_another_architecture_are_refused(layout, files, transfer):
    path = files["resnet50"][0] / layout
    with pytest.raises(ModelError, match=rf"{path}: not the weights of vgg16.*block1_conv1.*Received for it: nothing"):
        built("vgg16", transfer, path)


def test_a_larger_network_of_the_same_family_is_refused(files, transfer, tmp_path):
    """VGG19 holds every layer of VGG16 and three more: taking what fits would build a network that never was."""
    keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3)).save(tmp_path / "vgg19.keras")
    with pytest.raises(ModelError, match=r"vgg19\.keras: not the weights of vgg16: .* block3_conv4, which"):
        built("vgg16", transfer, tmp_path / "vgg19.keras")


def test_a_file_without_one_layer_is_refused_and_nothing_is_changed(files, transfer, tmp_path):
    path = tmp_path / "part_notop.h5"
    path.write_bytes((files["vgg16"][0] / "notop.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["block4_conv2"].attrs["weight_names"] = np.array([b""])[:0]
    model = built("vgg16", transfer, "none")
    before = model.get_layer("block1_conv1").get_weights()[0]
    with pytest.raises(ModelError, match=r"first layer that does not fit is block4_conv2.*Received for it: nothing"):
        weights.load_backbone(keras.Model(model.input, model.get_layer("block5_pool").output), "vgg16", str(path))
    np.testing.assert_array_equal(model.get_layer("block1_conv1").get_weights()[0], before)


def test_an_array_of_another_shape_is_refused(files, transfer, tmp_path):
    path = tmp_path / "shape_notop.h5"
    path.write_bytes((files["vgg16"][0] / "notop.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        name = file["block2_conv1"].attrs["weight_names"][1].decode()
        del file["block2_conv1"][name]
        file["block2_conv1"][name] = np.zeros(127, np.float32)
    with pytest.raises(ModelError, match=r"block2_conv1, .*\(128,\)\. Set .*Received for it: .*\(127,\)"):
        built("vgg16", transfer, path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.weights.h5", b"no HDF5"),
        ("b_notop.h5", b""),
        ("c.keras", b"no zip"),
        ("d.h5", b"\x89HDF\r\n\x1a\n" + bytes(99)),
    ],
)
def test_a_broken_file_is_refused(name, content, transfer, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name}: broken, or not a weights file\. Set train\.transfer\.weights"):
        built("vgg16", transfer, tmp_path / name)


@pytest.mark.parametrize("layout", LAYOUTS[:3])
def test_a_truncated_file_is_refused(layout, files, transfer, tmp_path):
    whole = (files["vgg16"][0] / layout).read_bytes()
    (tmp_path / layout).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=rf"{layout}: broken"):
        built("vgg16", transfer, tmp_path / layout)


def test_other_archives_and_hdf5_files_are_refused(transfer, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    with pytest.raises(ModelError, match=r"a\.keras: broken, or not a weights file"):
        built("vgg16", transfer, tmp_path / "a.keras")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["galaxies"] = np.zeros(3)
    with pytest.raises(ModelError, match=r"b\.h5: an HDF5 file without the weights.*Received: \['galaxies'\]"):
        built("vgg16", transfer, tmp_path / "b.h5")


def test_a_file_that_points_to_others_is_refused(files, transfer, tmp_path):
    with h5py.File(tmp_path / "link.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(str(files["vgg16"][0] / "backbone.weights.h5"), "/layers")
    with pytest.raises(ModelError, match=r"link\.weights\.h5: broken.*layers is a link"):
        built("vgg16", transfer, tmp_path / "link.weights.h5")


def test_a_missing_file_is_refused(transfer, tmp_path):
    with pytest.raises(ModelError, match=r"imagenet, none or the path.*\*_notop\.h5.*nowhere\.h5'.*no such file"):
        built("vgg16", transfer, tmp_path / "nowhere.h5")


def test_weights_are_named_by_their_content(files, transfer, tmp_path):
    path = files["vgg16"][0] / "notop.h5"
    named = transfer.model_copy(update={"weights": str(path)})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.weights_identity("vgg16", named) == f"sha256:{digest}"
    assert weights.weights_identity("regularised_cnn", named) is None
    assert weights.weights_identity("vgg16", transfer) is None
    with pytest.raises(ModelError, match="no such file"):
        weights.weights_identity("vgg16", transfer.model_copy(update={"weights": str(tmp_path / "nowhere.h5")}))


def test_imagenet_weights_are_named_without_a_download(transfer):
    imagenet = transfer.model_copy(update={"weights": "imagenet"})
    names = [weights.weights_identity(architecture, imagenet) for architecture in BUILDERS]
    assert all(name.startswith("imagenet md5:") for name in names)
    assert len(set(names)) == 2


@pytest.mark.parametrize("architecture", sorted(BUILDERS))
def test_imagenet_s_address_and_checksum_are_those_of_keras(architecture):
    from keras.src.applications import resnet, vgg16

    ours = weights.IMAGENET[architecture]
    if architecture == "vgg16":
        assert ours.url == vgg16.WEIGHTS_PATH_NO_TOP
        assert ours.md5 in inspect.getsource(vgg16.VGG16)
    else:
        assert ours.url == f"{resnet.BASE_WEIGHTS_PATH}{ours.name}"
        assert ours.md5 == resnet.WEIGHTS_HASHES["resnet50"][1]


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, or keeps silent."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.requests, self.over = content, 0, threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        if self.server.content is None:
            self.server.over.wait(30)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Let VGG16's ImageNet weights be those that a local server gives, and Keras's cache be empty."""
    servers = []
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def start(content, md5):
        server = Server(content)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        file = weights.ImageNetFile("vgg16_notop.h5", f"http://127.0.0.1:{server.server_address[1]}", md5)
        monkeypatch.setitem(weights.IMAGENET, "vgg16", file)
        return server

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def test_imagenet_weights_are_fetched_once_and_loaded(serve, files, transfer):
    content = (files["vgg16"][0] / "notop.h5").read_bytes()
    server = serve(content, hashlib.md5(content).hexdigest())
    for _ in range(2):
        model = built("vgg16", transfer, "imagenet")
        np.testing.assert_array_equal(
            model.get_layer("block1_conv1").get_weights()[0], files["vgg16"][1]["block1_conv1"][0]
        )
    assert server.requests == 1


def test_what_is_not_the_published_file_is_refused(serve, transfer):
    serve(b"something else", "0" * 32)
    with pytest.raises(ModelError, match=r"ImageNet weights of vgg16 cannot be had.*Set train\.transfer\.weights"):
        built("vgg16", transfer, "imagenet")


def test_a_server_that_keeps_silent_is_given_up(serve, transfer, monkeypatch, tmp_path):
    server = serve(None, "0" * 32)
    monkeypatch.setattr(weights, "TIMEOUT", 0.5)
    started = time.monotonic()
    with pytest.raises(ModelError) as refusal:
        built("vgg16", transfer, "imagenet")
    assert time.monotonic() - started < 5
    for said in (f"http://127.0.0.1:{server.server_address[1]}/vgg16_notop.h5", "KERAS_HOME", "*_notop.h5", "none"):
        assert said in str(refusal.value)
    assert not list(tmp_path.rglob("*.h5")), "nothing half is left in the cache"


def test_no_server_at_all_is_no_silent_random_start(serve, transfer):
    server = serve(None, "0" * 32)
    server.shutdown()
    server.server_close()
    with pytest.raises(ModelError, match="cannot be had"):
        built("vgg16", transfer, "imagenet")
