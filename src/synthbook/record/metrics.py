"""What rows say: the metrics with unit and words, and what each chapter produces."""

from __future__ import annotations

from typing import NamedTuple, get_args

from synthbook.record.kinds import Big, FewShot, Guided, LimitedData, Mixing, Shot, Whole


class Metric(NamedTuple):
    """What a number is."""

    unit: str  # of a difference; "" for shares, ratios, correlations and mere numbers
    words: str


METRICS = {
    # classifiers
    "top1_accuracy": Metric("points", "accuracy"),
    "mean_class_accuracy": Metric("points", "mean accuracy of the classes"),
    "top5_accuracy": Metric("points", "accuracy among the first five"),
    "prompt_spread": Metric("points", "best less worst form of prompts"),
    "probe_accuracy": Metric("points", "accuracy of a linear layer on frozen features"),
    "gain_range": Metric("points", "largest less smallest gain of a data set"),
    "gain_correlation": Metric("", "rank correlation of zero shots and gains"),
    "tuned_share": Metric("points", "share of all parameters that is tuned"),
    "equal_images": Metric("images", "real images a class that teach as much"),
    "data_ratio": Metric("", "generated images for each real one that teaches as much"),
    "ap50": Metric("points", "average precision at an overlap of a half"),
    "train_accuracy": Metric("points", "training accuracy"),
    "val_accuracy": Metric("points", "validation accuracy"),
    "early_train_accuracy": Metric("points", "training accuracy in the first eighth"),
    "final_train_accuracy": Metric("points", "training accuracy at the end"),
    "final_val_accuracy": Metric("points", "validation accuracy at the end"),
    "generalisation_gap": Metric("points", "training minus validation accuracy"),
    "epochs_to_level": Metric("epochs", "epochs to 95 % of the last training accuracy"),
    "mean_cross_entropy": Metric("nats", "mean loss"),
    "median_cross_entropy": Metric("nats", "median loss"),
    "share_loss_below_0.01": Metric("", "share of losses below 0.01"),
    "share_loss_above_1": Metric("", "share of losses above 1"),
    "share_easier": Metric("", "share of pairs in which the generated image costs less"),
    "mean_cosine": Metric("", "cosine of real and generated gradient"),
    "share_projected": Metric("", "share of steps that Real Guidance projects"),
    "relative_cost": Metric("", "time relative to plain training"),
    "lambda_3": Metric("", "weight of the guidance that is chosen"),
    "guidance_gradient_share": Metric("", "gradient of the guidance, relative to the loss's"),
    # sets of images
    "fd": Metric("FD", "Fréchet distance"),
    "fid": Metric("FID", "Fréchet inception distance"),
    "best_fd": Metric("FD", "Fréchet distance of the best snapshot"),
    "last_fd": Metric("FD", "Fréchet distance of the last snapshot"),
    "late_gain": Metric("", "share of the best distance saved in the last third of the steps"),
    "best_step_share": Metric("", "share of the steps to the best snapshot"),
    "kd": Metric("KD", "kernel distance"),
    "kid": Metric("KID", "kernel inception distance"),
    "precision": Metric("", "precision"),
    "recall": Metric("", "recall"),
    "density": Metric("", "density"),
    "coverage": Metric("", "coverage"),
    "appearance": Metric("", "gap in appearance"),
    "content": Metric("", "gap in content"),
    "quality": Metric("", "gap in quality"),
    "copying_z": Metric("", "copying statistic"),
    "near_copies": Metric("", "share of near copies"),
    "class_agreement": Metric("points", "agreement with the class that was asked for"),
    "passed_share": Metric("points", "share of images that a filter passes"),
    "gain_by_images": Metric("points", "gain by generated images"),
    "last_accuracy": Metric("points", "accuracy of the last step, nothing chosen"),
    "last_gain": Metric("points", "gain by generated images at the last step"),
    "kept_images": Metric("images", "images of a class that are kept, on average"),
    "fewest_images": Metric("images", "images of the class that keeps the fewest"),
    "class_spread": Metric("", "cosine distance of two images of one class"),
    "n_real": Metric("images", "number of real images"),
    "n_fake": Metric("images", "number of generated images"),
    "cutout_like": Metric("", "share of images like cutouts"),
    "shift_like": Metric("", "share of images like shifted ones"),
    "objects_per_image": Metric("objects", "objects an image"),
    "share_with_several": Metric("", "share of images with several objects"),
    "c_t": Metric("", "data-copying statistic C_T"),
    "interpolated_fd": Metric("FD", "Fréchet distance of images between two conditions"),
    "nearest_distance": Metric("FD^1/2", "distance to the nearest training image"),
    "embedding_spread": Metric("", "standard deviation of the embedded priors"),
    "prior_spread": Metric("", "distance between two images' features of length one"),
    "score": Metric("", "discriminator's mean unconditional score"),
    "score_gap": Metric("", "score of images trained on above that of unseen ones"),
    "score_room": Metric("", "score of images trained on above that of generated ones"),
    # inversion and editing
    "ivom": Metric("", "squared error of inverted images"),
    "ivom_half": Metric("", "squared error of inverted images after half of the steps"),
    "best_error": Metric("", "squared error of inverted images so far"),
    "inverted_fd": Metric("FD", "Fréchet distance of inverted images to the queries"),
    "within_distance": Metric("", "cosine distance of two images of one prior"),
    "between_distance": Metric("", "cosine distance of two images of one noise"),
    "within_pixels": Metric("grey levels", "difference of two images of one prior"),
    "between_pixels": Metric("grey levels", "difference of two images of one noise"),
    "own_similarity": Metric("", "cosine of images with what they were asked by"),
    "other_similarity": Metric("", "cosine of images with what others were asked by"),
    "own_first": Metric("", "share of images most similar to what they were asked by"),
    # transfer to few images
    "gain": Metric("", "gain over training from scratch, relative"),
    "median_gain": Metric("", "median gain over targets"),
    "lowest_gain": Metric("", "lowest gain over targets"),
    "steps_to_95": Metric("steps", "steps to 95 % of the best distance from scratch"),
    "share_to_95": Metric("", "share of the steps to 95 % of the best distance from scratch"),
    "filter_similarity": Metric("", "similarity of a layer's filters"),
    "filter_similarity_abs": Metric("", "absolute similarity of a layer's filters"),
    "mean_filter_similarity": Metric("", "mean similarity of filters over layers"),
    "mean_with_colours": Metric("", "mean similarity of filters, with those of the colours"),
    "last_layer_similarity": Metric("", "similarity of filters in the last layer"),
    "largest_other_similarity": Metric("", "largest similarity of filters in another layer"),
    "live_features": Metric("", "share of a discriminator's features that are above 0"),
    "layers_lower": Metric("", "share of layers with less similar filters"),
    # drawn images
    "spectral_slope": Metric("", "spectral slope"),
    "worst_slope_error": Metric("", "largest error of the spectral slope"),
    "edge_kurtosis": Metric("", "kurtosis of edges"),
    "edge_kurtosis_shuffled": Metric("", "kurtosis of edges with shuffled phases"),
    "like_phase": Metric("", "likeness to the image of the phases"),
    "like_amplitude": Metric("", "likeness to the image of the amplitudes"),
    "covered": Metric("", "share of the ground that is covered"),
    "visible": Metric("", "share of the shapes that are visible"),
    "visible_ground": Metric("", "share of the ground that is visible"),
    "visible_shapes": Metric("", "share of an image's shapes that is visible"),
    "colourfulness_of_the_ground": Metric("grey levels", "colourfulness of the ground"),
    "spread_of_the_noise": Metric("grey levels", "spread of the noise"),
    "power_across_them": Metric("points", "share of power across lines"),
    "lines_down_to_the_right": Metric("points", "share of lines down to the right"),
    "lines_in_the_image": Metric("points", "share of lines in the image"),
    "rectangles_in_the_image": Metric("points", "share of rectangles in the image"),
    "pixels_under_a_shape": Metric("points", "share of pixels under a shape"),
    "images_drawn_twice": Metric("points", "share of images drawn twice"),
}


class Produced(NamedTuple):
    """What the rows of a chapter may have as method, metric and part."""

    method: tuple[str, ...]
    metric: tuple[str, ...]
    part: tuple[str, ...] = ()


PRODUCES = {
    "11_generators": Produced(
        ("fidelity",),
        ("fd", "kd", "fid", "kid", "precision", "recall", "density", "coverage", "copying_z",
         "near_copies", "class_agreement", "n_real", "n_fake"),
    ),
    "12_not_mutual": Produced(
        ("plain", "unfiltered", "guided", "guided_unfiltered", "filtered_real"),
        ("top1_accuracy", "mean_class_accuracy", "passed_share", "class_agreement"),
    ),
    "13_learned_too_fast": Produced(
        ("plain",),
        ("train_accuracy", "val_accuracy", "early_train_accuracy", "final_train_accuracy",
         "final_val_accuracy", "generalisation_gap", "epochs_to_level"),
    ),
    "14_what_an_image_teaches": Produced(
        ("plain", "unfiltered", "guided", "guided_unfiltered", "taxonomy"),
        ("top1_accuracy", "mean_cross_entropy", "median_cross_entropy", "share_loss_below_0.01",
         "share_loss_above_1", "share_easier", "appearance", "content", "quality"),
    ),
    "15_pretrained_guidance": Produced(
        (*get_args(Guided), "plain-eval"),
        ("top1_accuracy", "relative_cost", "lambda_3", "guidance_gradient_share"),
        ("tables", "choice", "sensitivity", "readings"),
    ),
    "16_real_guidance": Produced(
        ("plain", *get_args(Mixing)),
        ("top1_accuracy", "relative_cost", "mean_cosine", "share_projected", "lambda_3",
         "guidance_gradient_share"),
        ("methods", "same_images", "real_images", "choice", "sensitivity", "readings"),
    ),
    "21_zero_shot": Produced(
        ("zero-shot", "CT", "images", "from scratch"),
        ("top1_accuracy", "class_agreement", "passed_share", "gain_range", "gain_correlation",
         "tuned_share", "equal_images", "data_ratio"),
        ("strategies", "faults", "encoder", "scratch"),
    ),
    "22_few_shot": Produced(
        (*get_args(Shot), "CT", "images"),
        ("top1_accuracy", "gain_by_images", "last_accuracy", "last_gain", "passed_share",
         "kept_images", "fewest_images", "fd"),
        ("methods", "strategies", "phases", "norms"),
    ),
    "23_pretraining": Produced(
        ("none", "supervised", "mocov2"), ("top1_accuracy", "ap50"),
        ("aware", "supervised", "contrastive"),
    ),
    "31_prompts": Produced(
        ("clone", "real", "largest class"),
        ("top1_accuracy", "top5_accuracy", "prompt_spread", "fd", "fid", "precision", "recall",
         "density", "coverage", "class_agreement", "class_spread"),
        ("prompts", "crops", "filter"),
    ),
    "32_scale_and_shift": Produced(
        ("clone", "real", "published", "largest class"), ("top1_accuracy", "top5_accuracy"),
        ("sizes", "classes", "tests"),
    ),
    "33_transfer": Produced(
        ("clone", "real", "published", "random weights"),
        ("probe_accuracy", "top1_accuracy", "top5_accuracy"), ("sizes", "classes"),
    ),
    "41_dip_few_shot": Produced(
        (*get_args(FewShot), "replayed", "ten replayed", "prior"),
        ("fd", "best_fd", "last_fd", "late_gain", "best_step_share", "precision", "recall", "c_t",
         "interpolated_fd", "nearest_distance", "gain", "prior_spread"),
        ("methods", "stylegan2", "labels", "losses", "amount", "controls", "alike"),
    ),
    "42_dip_limited_data": Produced(
        (*get_args(LimitedData), "replayed"),
        ("fd", "best_fd", "last_fd", "late_gain", "best_step_share", "score", "score_gap",
         "score_room"),
        ("finetuning", "fractions", "scores", "stylegan2"),
    ),
    "43_dip_large_scale": Produced(
        (*get_args(Whole), "replayed", "real images"),
        ("fd", "best_fd", "last_fd", "late_gain", "best_step_share", "precision", "recall", "c_t",
         "embedding_spread"),
        ("methods", "priors"),
    ),
    "44_inversion_and_editing": Produced(
        ("baseline", "DIP", "untrained", "mean image", "nearest image", "real images"),
        ("ivom", "ivom_half", "best_error", "inverted_fd", "within_distance", "between_distance",
         "within_pixels", "between_pixels", "own_similarity", "other_similarity", "own_first"),
        ("shown", "inversion", "starts", "freedom", "others", "untrained", "variation", "editing"),
    ),
    "51_synthesizer": Produced(
        ("spectrum", "phase swap", "layers", "quirk", "visibility"),
        ("spectral_slope", "worst_slope_error", "edge_kurtosis", "edge_kurtosis_shuffled",
         "like_phase", "like_amplitude", "covered", "visible", "colourfulness_of_the_ground",
         "spread_of_the_noise", "power_across_them", "lines_down_to_the_right",
         "lines_in_the_image", "rectangles_in_the_image", "pixels_under_a_shape",
         "images_drawn_twice", "visible_shapes", "visible_ground"),
    ),
    "52_transfer_to_few_images": Produced(
        ("scratch", "finetune", "TransferGAN", "FreezeD", "real images", "layers"),
        ("fd", "best_fd", "last_fd", "late_gain", "best_step_share", "gain", "median_gain",
         "lowest_gain", "steps_to_95", "share_to_95", "objects_per_image", "share_with_several",
         "visible_ground", "visible_shapes"),
    ),
    "53_why_it_works": Produced(
        (*get_args(Big), "scratch", "finetune", "filters", "real images", "layers",
         "layers of the ablation", "layers for BigGAN"),
        ("fd", "best_fd", "last_fd", "late_gain", "best_step_share", "gain", "cutout_like",
         "shift_like", "live_features", "filter_similarity", "filter_similarity_abs",
         "mean_filter_similarity", "mean_with_colours", "last_layer_similarity",
         "largest_other_similarity", "layers_lower", "visible_ground", "visible_shapes"),
        ("ablation", "shares", "filters"),
    ),
}  # fmt: skip
